"""One line of JSON for each request, and the answer to an error that nobody foresaw. ASGI middleware.

A client may send ``X-Request-Id``; else one is made. It comes back in the answer and stands in the log.
"""

import logging
import re
import time
import uuid
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from procurator.query_api.metrics import ApiMetrics
from procurator.query_api.problems import internal

LOGGER = logging.getLogger("procurator.api")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


class RequestLog:
    """Wraps the application; must be its outermost middleware."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and log it when its answer is complete."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        state = scope.setdefault("state", {})
        state["request_id"] = given if _REQUEST_ID(given) else uuid.uuid4().hex
        began = time.perf_counter()
        status = 0

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = state["request_id"]
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception:
            LOGGER.exception("request", extra=_fields(scope, state, 500, began))
            if not status:
                status = 500
                await internal().response(state["request_id"])(scope, receive, send_noted)
        else:
            LOGGER.info("request", extra=_fields(scope, state, status, began))
        finally:
            self._metrics.answered(scope, status, time.perf_counter() - began)


def _fields(scope: Scope, state: MutableMapping[str, Any], status: int, began: float) -> dict[str, Any]:
    principal = state.get("principal")
    fields = {
        "request_id": state["request_id"],
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "action": state.get("action"),
        "duration_ms": round((time.perf_counter() - began) * 1000, 1),
        "principal": principal and principal.principal_id,
        "client": scope["client"] and scope["client"][0],
    }
    return {"fields": fields}
