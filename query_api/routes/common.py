"""What routes share: their dependencies, the parameters of a list, the answer."""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from procurator.access import NO_ORGANISATION, Permission, Principal, Scope
from procurator.query_api import pages
from procurator.query_api.auth import Access, requires
from procurator.query_api.pages import CURSOR_CHARS_MAX
from procurator.query_api.problems import FieldProblem, forbidden, invalid, responses
from procurator.query_api.queries.base import LIMIT_DEFAULT, LIMIT_MAX, PageQuery, Row
from procurator.query_api.services import Services

#: Problems that every route under /v1 may answer with.
PROBLEMS = responses(
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
NOT_FOUND = responses(HTTPStatus.NOT_FOUND)


PageQueryT = TypeVar("PageQueryT", bound=PageQuery)


class NoParameters(BaseModel):
    """A route that takes no query parameters: one that is given is named, not ignored."""

    model_config = ConfigDict(extra="forbid")


class PageParameters(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, description="Items of a page at most.")
    cursor: str | None = Field(
        None, max_length=CURSOR_CHARS_MAX, description="`next_cursor` of the page before; the first page without it."
    )

    def of(self, query: PageQueryT) -> PageQueryT:
        """Return ``query`` for this page. Raises BadCursor."""
        after = None if self.cursor is None else pages.decode(query, self.cursor)
        return replace(query, limit=self.limit, after=after)


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _readers_scope(access: Annotated[Access, Depends(requires(Permission.SESSIONS_READ, "sessions.read"))]) -> Scope:
    return access.scope


InService = Annotated[Services, Depends(_services)]
#: Whose sessions the caller may read; a route that takes it needs ``sessions:read``.
ReadScope = Annotated[Scope, Depends(_readers_scope)]
WhichPage = Annotated[PageParameters, Query()]
Nothing = Annotated[NoParameters, Query()]


def answer(model: BaseModel) -> Response:
    """Return a model as JSON: written once, in Rust, without FastAPI's second validation."""
    return Response(model.model_dump_json(), media_type="application/json")


async def read_page(services: Services, query: PageQuery, which: PageParameters) -> tuple[list[Row], str | None]:
    """Return the rows of one page and the cursor of the next."""
    query = which.of(query)
    return pages.cut(query, await services.store.rows(query))


def page_of(items: list[Any], next_cursor: str | None) -> dict[str, Any]:
    """Return a list's fixed shape."""
    return {"items": items, "next_cursor": next_cursor}


def organisation_of(principal: Principal, org_id: str | None, every_organisation: bool, what: str) -> str | None:
    """Return the organisation of something new (``what``, for people); None is every one, for the operator alone.

    Raises the problems 403 and 422.
    """
    if every_organisation:
        if principal.org_id is not None:
            raise forbidden(f"only the operator of the installation makes {what} that reach every organisation")
        if org_id is not None:
            raise invalid([FieldProblem(field="org_id", message="leave it out beside every_organisation")])
        return None
    org_id = org_id or principal.org_id
    if org_id is None or org_id == NO_ORGANISATION:
        raise invalid([FieldProblem(field="org_id", message='is needed from the operator; for example "acme"')])
    if principal.org_id not in (None, org_id):
        raise forbidden(f"{what} of organisation {org_id} are not yours to make")
    return org_id
