"""Sign in with a key or a link that works once, sign out."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.security.utils import get_authorization_scheme_param

from procurator.query_api.auth import Authenticator
from procurator.query_api.problems import forbidden, unauthorized
from procurator.query_api.ui.browser_sessions import BrowserSessions, is_loopback, local_path
from procurator.query_api.ui.login_links import LINK_S, LoginLinks
from procurator.query_api.ui.page import AnyViewer, PageRoute, Viewer

router = APIRouter(route_class=PageRoute)

_KEY_CHARS_MAX = 8_192


@router.get("/signin")
async def sign_in_page(viewer: AnyViewer, next: str = "/", once: str | None = None) -> Response:
    """Ask for a key; with ``once``, the code of a link, sign in at once."""
    if once is not None:
        return await _by_link(viewer.request, once, next)
    if viewer.principal is not None:
        return RedirectResponse(local_path(next), HTTPStatus.SEE_OTHER)
    return _ask(viewer, next)


@router.post("/signin")
async def sign_in(
    request: Request, key: Annotated[str, Form(max_length=_KEY_CHARS_MAX)], next: Annotated[str, Form()] = "/"
) -> Response:
    """Sign in with a key or token, and go back to where one was."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise forbidden("sign in from this site's own page")
    authenticator: Authenticator = request.app.state.authenticator
    if not key.strip() or await authenticator.principal(key.strip()) is None:
        viewer = Viewer(request, None)
        return _ask(viewer, next, "This key is not known here, has expired or was revoked.", HTTPStatus.UNAUTHORIZED)
    return _open(request, key.strip(), next)


@router.post("/signin/links")
async def make_link(request: Request) -> Response:
    """Make a link that signs a browser in once as the bearer of this request's key."""
    scheme, token = get_authorization_scheme_param(request.headers.get("authorization"))
    authenticator: Authenticator = request.app.state.authenticator
    if scheme.lower() != "bearer" or await authenticator.principal(token) is None:
        return unauthorized("send the header `Authorization: Bearer <key>`").response(request.state.request_id)
    links: LoginLinks = request.app.state.login_links
    path = f"/signin?once={links.make(token)}"
    return JSONResponse({"path": path, "expires_in_s": LINK_S}, HTTPStatus.CREATED)


@router.post("/signout")
async def sign_out(viewer: AnyViewer) -> Response:
    """End the session."""
    response = RedirectResponse("/signin", HTTPStatus.SEE_OTHER)
    sessions: BrowserSessions = viewer.request.app.state.browser_sessions
    sessions.end(viewer.request, response)
    return response


async def _by_link(request: Request, code: str, next: str) -> Response:
    links: LoginLinks = request.app.state.login_links
    token = links.redeem(code)
    if token is None:
        raise forbidden("this link was used already or is too old: sign in with your key, or make a new link")
    return _open(request, token, next)


def _open(request: Request, token: str, next: str) -> Response:
    response = RedirectResponse(local_path(next), HTTPStatus.SEE_OTHER)
    sessions: BrowserSessions = request.app.state.browser_sessions
    sessions.open(request, response, token)
    return response


def _ask(viewer: Viewer, next: str, problem: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
    request = viewer.request
    insecure = request.url.scheme != "https" and not is_loopback(request)
    return viewer.page("signin.html", status, next=local_path(next), problem=problem, insecure=insecure)
