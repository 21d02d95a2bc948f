"""No request is larger than it may be, and none is compressed: checked before anything reads it. ASGI middleware."""

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from procurator.query_api.problems import Problem

BODY_BYTES_MAX = 1024 * 1024


class BodyLimit:
    """Wraps the routes. A compressed body is refused, so there is nothing that could unfold to gigabytes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = _objection(headers)
        if problem is not None:
            await problem.response(scope["state"]["request_id"])(scope, receive, send)
            return
        taken = 0

        async def receive_bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES_MAX:  # sent in pieces, without its length
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return message

        await self._app(scope, receive_bounded, send)


def _objection(headers: Headers) -> Problem | None:
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        status, kind = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-encoding"
        return Problem(status, kind, "Unsupported encoding", "send the body uncompressed")
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) <= BODY_BYTES_MAX:
        return None
    status, kind = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large"
    return Problem(status, kind, "The request is too large", f"a body has at most {BODY_BYTES_MAX} bytes")
