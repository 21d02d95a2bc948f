"""A command that is sent again under the same ``Idempotency-Key`` is not carried out again: it gets the first answer.

Answers are kept in this process's memory for a day. After that, after a restart and of another process, what the
commands make sure of by themselves still holds: a termination is the same signal, of two decisions the first counts.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from procurator.query_api.auth import Access, Requires
from procurator.query_api.problems import FieldProblem, Problem, invalid

HEADER = "Idempotency-Key"
KEY_CHARS_MAX = 255
KEPT_S = 24 * 3600.0
KEPT_MAX = 10_000

#: Principal and key: nobody gets another's answer.
Name = tuple[str, str]
Key = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=KEY_CHARS_MAX,
        description="Your name for this command: sent again with it, the command gets the first answer.",
    ),
]


@dataclass
class Kept:
    """What was asked, when (s, monotonic), and what was answered; None until it is."""

    request: bytes
    asked_at_s: float
    status: int | None = None
    content_type: str = ""
    body: bytes = b""


class Repeated(Exception):
    """The command was carried out before, with this answer."""

    def __init__(self, kept: Kept) -> None:
        super().__init__("repeated")
        self.kept = kept


class Answers:
    """The answers given under keys, the oldest first. Belongs to the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[Name, Kept] = {}

    def begin(self, name: Name, request: bytes) -> None:
        """Let a command be carried out. Raises Repeated, and Problem when the key names another or one under way."""
        self._forget_old()
        kept = self._kept.get(name)
        if kept is None:
            self._kept[name] = Kept(request, self._clock())
        elif kept.request != request:
            raise invalid(
                [FieldProblem(field=HEADER, message="names another request: take a new one for each command")]
            )
        elif kept.status is None:
            raise Problem(
                HTTPStatus.CONFLICT, "under-way", "Under way", "the first request with this key is not answered"
            )
        else:
            raise Repeated(kept)

    def end(self, name: Name, status: int, content_type: str, body: bytes) -> None:
        """Keep an answer; a failure of ours is none, and the command may be sent again."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._kept.pop(name, None)
        elif kept := self._kept.get(name):
            kept.status, kept.content_type, kept.body = status, content_type, body

    def _forget_old(self) -> None:
        while self._kept:
            name = next(iter(self._kept))
            if len(self._kept) < KEPT_MAX and self._clock() - self._kept[name].asked_at_s < KEPT_S:
                return
            del self._kept[name]


def once(required: Requires) -> Callable[..., Awaitable[Access]]:
    """Return the dependency ``required`` for a command that is carried out once under a key."""

    async def access_once(
        request: Request, access: Annotated[Access, Depends(required)], idempotency_key: Key = None
    ) -> Access:
        if idempotency_key is None:
            return access
        asked = f"{request.method} {request.url.path}?{request.url.query}\n".encode() + await request.body()
        name = access.principal.principal_id, idempotency_key
        try:
            request.app.state.answers.begin(name, sha256(asked).digest())
        except Repeated:
            await access.shown(details={"repeated": True})
            raise
        request.state.idempotent = name
        return access

    return access_once


class KeptAnswers:
    """Keeps what is answered to commands that have a key. ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        status, content_type, body = HTTPStatus.INTERNAL_SERVER_ERROR.value, "", bytearray()

        async def send_kept(message: Message) -> None:
            nonlocal status, content_type
            if "idempotent" in scope.get("state", {}):
                if message["type"] == "http.response.start":
                    status = message["status"]
                    content_type = dict(message["headers"]).get(b"content-type", b"").decode("latin-1")
                elif message["type"] == "http.response.body":
                    body.extend(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_kept)
        finally:
            name = scope.get("state", {}).get("idempotent")
            if name is not None:
                scope["app"].state.answers.end(name, status, content_type, bytes(body))


def install(app: FastAPI) -> None:
    """Let ``app`` keep and repeat answers; before the audit's guard is added, which is to see them all."""
    app.state.answers = Answers()

    async def on_repeated(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Repeated)
        kept = error.kept
        headers = {"Idempotency-Replayed": "true", "Content-Type": kept.content_type}
        return Response(kept.body, kept.status or HTTPStatus.OK, headers)

    app.add_exception_handler(Repeated, on_repeated)
    app.add_middleware(KeptAnswers)
