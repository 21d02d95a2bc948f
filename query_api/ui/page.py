"""A page: a template, who reads it, and the headers that keep anything foreign out of it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode, urlsplit

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from procurator.access import Principal
from procurator.config import Settings
from procurator.errors import Unavailable
from procurator.query_api.pages import BadCursor
from procurator.query_api.problems import RETRY_AFTER_S, Problem
from procurator.query_api.ui import formats
from procurator.query_api.ui.assets import Assets
from procurator.query_api.ui.browser_sessions import BrowserSessions, local_path
from procurator.query_api.ui.navigation import places_for
from procurator.query_api.ui.views import sessions

#: Everything from here, nothing inline, nothing that turns text into script.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types fragments"
    ),
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: Set by a script on the first page; read here so that pages come in the viewer's zone and theme.
ZONE_COOKIE = "zone"
THEME_COOKIE = "theme"


def environment(settings: Settings, assets: Assets) -> Environment:
    """Return the templates: escaped by default, with an error for every name that is not there."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for name in ("integer", "compact", "money", "exact_money", "duration", "size", "readable_json"):
        made.filters[name] = getattr(formats, name)
    made.globals.update(
        asset=lambda name: f"/static/{assets.digest}/{name}",
        agent_link=lambda agent_id: _outside(settings.ui_agent_url, agent_id=agent_id),
        tool_link=lambda server, tool: _outside(settings.ui_tool_url, mcp_server_id=server or "", tool_name=tool),
        listed=sessions.listed,
        failing=sessions.failing,
        percent=formats.percent,
        icon=_icon,
    )
    return made


@dataclass(frozen=True)
class Viewer:
    """What a page is rendered with: the templates, and who looks at it where."""

    request: Request
    principal: Principal | None

    @property
    def clock(self) -> formats.Clock:
        """The viewer's time zone, and now."""
        return formats.Clock.of(self.request.cookies.get(ZONE_COOKIE))

    def page(self, template: str, status: int = HTTPStatus.OK, **context: Any) -> HTMLResponse:
        """Return a whole page."""
        theme = self.request.cookies.get(THEME_COOKIE)
        shell = {
            "places": places_for(self.principal),
            "theme": theme if theme in ("light", "dark") else "",
            "here": here(self.request),
            "active": "",
        }
        return HTMLResponse(self._render(template, {**shell, **context}), status, HEADERS)

    def fragment(self, template: str, **context: Any) -> HTMLResponse:
        """Return a part of a page, for a script that puts it in its place."""
        return HTMLResponse(self._render(template, context), headers=HEADERS)

    def _render(self, template: str, context: dict[str, Any]) -> str:
        state = self.request.app.state
        templates: Environment = state.templates
        browsers: BrowserSessions = state.browser_sessions
        own = {"principal": self.principal, "clock": self.clock, "csrf": browsers.csrf(self.request)}
        return templates.get_template(template).render({**own, **context})


async def made_while(recorded: Awaitable[None], make: Callable[[], HTMLResponse]) -> HTMLResponse:
    """Return the page that ``make`` renders, aside, while the audit records that it is shown; both must be done."""
    page, _ = await asyncio.gather(asyncio.to_thread(make), recorded)
    return page


async def _viewer(request: Request) -> Viewer:
    browsers: BrowserSessions = request.app.state.browser_sessions
    return Viewer(request, await browsers.principal(request))


#: Whoever looks, signed in or not.
AnyViewer = Annotated[Viewer, Depends(_viewer)]


class PageRoute(APIRoute):
    """A route whose errors are pages: sign in and come back, try again, or what is wrong and the way on."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_for_people(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                if problem.status == HTTPStatus.UNAUTHORIZED:
                    return to_sign_in(request)
                return await error_page(request, problem.status, problem.document.title, str(problem))
            except Unavailable as error:
                return await error_page(request, HTTPStatus.SERVICE_UNAVAILABLE, "Something is away", str(error))
            except BadCursor as error:
                return await error_page(request, HTTPStatus.UNPROCESSABLE_ENTITY, "This page is gone", str(error))
            except RequestValidationError as error:
                detail = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
                return await error_page(request, HTTPStatus.UNPROCESSABLE_ENTITY, "This address is not right", detail)

        return handle_for_people


async def error_page(request: Request, status: HTTPStatus, title: str, detail: str) -> Response:
    """Return what went wrong as a page; nobody has to be signed in to read it."""
    browsers: BrowserSessions = request.app.state.browser_sessions
    try:
        principal = await browsers.principal(request)
    except (Problem, Unavailable):
        principal = None
    request_id = getattr(request.state, "request_id", None)
    page = Viewer(request, principal).page(
        "error.html", status, title=title, detail=detail, code=int(status), request_id=request_id
    )
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        page.headers["Retry-After"] = str(RETRY_AFTER_S)
    return page


def to_sign_in(request: Request) -> Response:
    """Send the browser to the sign-in page, which leads back to here."""
    if request.headers.get("x-fragment"):  # a script asked: it sends the whole page there by itself
        return Response(status_code=HTTPStatus.UNAUTHORIZED)
    back = here(request) if request.method == "GET" else _form_page(request)
    return RedirectResponse(f"/signin?{urlencode({'next': back})}", HTTPStatus.SEE_OTHER)


def here(request: Request) -> str:
    """Return the path and query that were asked for."""
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def _form_page(request: Request) -> str:
    """Return the path of this site's page that a form stood on, else the start page: never another site's."""
    referer = request.headers.get("referer", "")
    try:
        page = urlsplit(referer)
    except ValueError:
        return "/"
    if page.netloc != request.url.netloc:
        return "/"
    return local_path(page.path + (f"?{page.query}" if page.query else ""))


def _icon(name: str) -> Markup:
    return Markup('<svg class="i" aria-hidden="true"><use href="#i-{}"/></svg>').format(name)


def _outside(template: str, **names: str) -> str | None:
    """Return an address elsewhere that the operator configured, None when none is."""
    if not template:
        return None
    for name, value in names.items():
        template = template.replace(f"{{{name}}}", quote(value, safe=""))
    return template
