"""Every error is a problem document (RFC 9457): what is wrong, where, and what to do."""

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import Field
from starlette.exceptions import HTTPException

from procurator.errors import ProcuratorError, Unavailable
from procurator.query_api.models.common import Model
from procurator.query_api.pages import BadCursor
from procurator.query_api.search.errors import SearchError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
_SCHEMAS = "#/components/schemas"


class FieldProblem(Model):
    """What is wrong with one field of the request."""

    field: str = Field(examples=["limit"])
    message: str = Field(examples=["Input should be less than or equal to 1000"])


class ProblemDocument(Model):
    """RFC 9457."""

    type: str = Field(examples=["urn:procurator:problem:invalid-request"])
    """Kind of problem, for programs."""
    title: str = Field(examples=["The request is invalid"])
    """Kind of problem, for people."""
    status: int = Field(examples=[422])
    """HTTP status."""
    detail: str = Field(examples=["limit: Input should be less than or equal to 1000"])
    """What is wrong in this case."""
    errors: list[FieldProblem] = Field(default_factory=list)
    """The fields at fault; empty when no single field is."""
    request_id: str | None = None
    """Names this request in the server's log."""


class Problem(ProcuratorError):
    """Raised by a route: answered with ``status`` and a document. The message is the document's detail."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        title: str,
        detail: str,
        errors: Sequence[FieldProblem] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}
        self.document = ProblemDocument(
            type=f"urn:procurator:problem:{kind}", title=title, status=status, detail=detail, errors=list(errors)
        )

    def response(self, request_id: str | None) -> Response:
        """Return the HTTP answer."""
        body = self.document.model_copy(update={"request_id": request_id})
        return Response(body.model_dump_json(), self.status, self.headers, MEDIA_TYPE)


def unauthorized(detail: str) -> Problem:
    """Nobody we know."""
    challenge = {"WWW-Authenticate": 'Bearer realm="procurator"'}
    return Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", "Who are you?", detail, headers=challenge)


def forbidden(detail: str) -> Problem:
    """Somebody who may not do this."""
    return Problem(HTTPStatus.FORBIDDEN, "forbidden", "You may not do this", detail)


def too_many(wait_s: float) -> Problem:
    """Somebody who calls too often."""
    seconds = max(1, math.ceil(wait_s))
    detail = f"you call too often: wait {seconds} s"
    wait = {"Retry-After": str(seconds)}
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail, headers=wait)


def not_found(detail: str) -> Problem:
    """There is none, or none that the caller may see: the two are not told apart."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", "There is no such thing", detail)


def invalid(errors: Sequence[FieldProblem]) -> Problem:
    """Something in the request cannot be used; each error names its field."""
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "The request is invalid", detail, errors)


def unavailable(detail: str) -> Problem:
    """A neighbour is away; the same request may succeed later."""
    wait = {"Retry-After": str(RETRY_AFTER_S)}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "Try again later", detail, headers=wait)


def internal() -> Problem:
    """Our mistake; the log has it."""
    detail = "the server made a mistake; its log has the details under this request id"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of these statuses."""
    schema = {"schema": {"$ref": f"{_SCHEMAS}/ProblemDocument"}}
    return {status.value: {"description": status.phrase, "content": {MEDIA_TYPE: schema}} for status in statuses}


def describe(app: FastAPI) -> None:
    """Put the problem document into the OpenAPI document of ``app``."""
    generate = app.openapi
    statuses = HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    of_bodies = {str(status): described for status, described in responses(*statuses).items()}

    def openapi() -> dict[str, Any]:
        document = generate()
        own = ProblemDocument.model_json_schema(ref_template=f"{_SCHEMAS}/{{model}}", mode="serialization")
        for operations in document["paths"].values():
            for operation in operations.values():
                if "requestBody" in operation:
                    operation["responses"] |= of_bodies
        document["components"]["schemas"] |= {**own.pop("$defs"), "ProblemDocument": own}
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem document; an unforeseen one is the request log's to answer."""

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.response(request.state.request_id)

    async def on_bad_request(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return invalid([_field_problem(item) for item in error.errors()]).response(request.state.request_id)

    async def on_bad_cursor(request: Request, error: Exception) -> Response:
        return invalid([FieldProblem(field="cursor", message=str(error))]).response(request.state.request_id)

    async def on_bad_search(request: Request, error: Exception) -> Response:
        assert isinstance(error, SearchError)
        return invalid([FieldProblem(field=error.field, message=str(error))]).response(request.state.request_id)

    async def on_unavailable(request: Request, error: Exception) -> Response:
        return unavailable(str(error)).response(request.state.request_id)

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = HTTPStatus(error.status_code)
        detail = f"{request.method} {request.url.path}: {status.description or status.phrase}"
        kind = status.phrase.lower().replace(" ", "-")
        problem = Problem(status, kind, status.phrase, detail, headers=dict(error.headers or {}))
        return problem.response(request.state.request_id)

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_bad_request)
    app.add_exception_handler(BadCursor, on_bad_cursor)
    app.add_exception_handler(SearchError, on_bad_search)
    app.add_exception_handler(Unavailable, on_unavailable)
    app.add_exception_handler(HTTPException, on_http_error)


def _field_problem(error: dict[str, Any]) -> FieldProblem:
    where, *names = error["loc"]
    field = ".".join(map(str, names))[:100]
    if error["type"] == "extra_forbidden":
        what = "field" if where == "body" else "query parameter, for example limit=50 of a list"
        return FieldProblem(field=field, message=f"there is no such {what}: /openapi.json has all of them")
    example = "; for example 2026-11-01T00:00:00Z" if error["type"].startswith("datetime") else ""
    return FieldProblem(field=field, message=error["msg"] + example)
