"""The last word before an answer leaves: what was not recorded is not sent. ASGI middleware.

A route that forgot to await `Access.shown`, or to take an `Access` at all, answers 500 and shows nothing. Refusals
are recorded here too, in one place for all routes.
"""

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from procurator.audit_events import FAILED

_REFUSED = frozenset({401, 403, 404, 429})
_AUDITED = "/v1/"


class NotRecorded(RuntimeError):
    """A route was about to show what the audit does not know of: a mistake of ours."""


class AuditGuard:
    """Wraps the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _judge(scope, message["status"])
            await send(message)

        await self._app(scope, receive, send_recorded)


def _judge(scope: Scope, status: int) -> None:
    state = scope.get("state", {})
    access, action = state.get("access"), state.get("action")
    recorded = access is not None and access.recorded
    if status < 400:
        if not recorded and (access is not None or scope["path"].startswith(_AUDITED)):
            raise NotRecorded(f"{scope['method']} {scope['path']} was about to answer {status}")
    elif recorded:
        scope["app"].state.services.refusals.note(Request(scope), action, status, FAILED)
    elif action is not None and status in _REFUSED:
        scope["app"].state.services.refusals.note(Request(scope), action, status)
