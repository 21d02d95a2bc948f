"""Refusals in the audit: what was asked for and not given. A flood of them is counted, not written one by one.

Each principal's refusals, and all those of nobody we know together, are written singly up to a rate; what is beyond
is one event every few seconds that says how many there were.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request

from procurator.access import Principal
from procurator.audit_events import ANONYMOUS, REFUSED
from procurator.errors import Unavailable
from procurator.query_api.audit import AuditLog
from procurator.query_api.metrics import ApiMetrics
from procurator.query_api.rate_limit import RateLimiter, RatePolicy

POLICY = RatePolicy(per_s=1.0, burst=20)
SUMMARY_EVERY_S = 10.0
SUMMARY = "refusals.summary"
_PATH_CHARS_MAX = 500
_NOBODY = Principal(ANONYMOUS, None, frozenset())


class RefusalLog:
    """Writes refusals behind the answer's back: a refusal shows nothing, so nothing waits for its event."""

    def __init__(self, audit: AuditLog, metrics: ApiMetrics, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._metrics = metrics
        self._monotonic = monotonic
        self._limiter = RateLimiter(POLICY)
        self._unwritten: Counter[Principal] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, request: Request, action: str, status: int, outcome: str = REFUSED) -> None:
        """Write that ``request`` was answered ``status``, or count it."""
        principal: Principal = getattr(request.state, "principal", _NOBODY)
        if self._limiter.wait_s(principal.principal_id, self._monotonic()):
            self._unwritten[principal] += 1
            self._metrics.refusals_summarised.inc()
            return
        details = {"status": status, "method": request.method, "path": request.url.path[:_PATH_CHARS_MAX]}
        self._begin(self._audit.record(request, principal, action, outcome, details=details))

    async def summarise(self) -> None:
        """Write how many were not written singly, until cancelled."""
        while True:
            await asyncio.sleep(SUMMARY_EVERY_S)
            self.flush()

    def flush(self) -> None:
        """Begin to write the counts so far."""
        unwritten, self._unwritten = self._unwritten, Counter()
        for principal, count in unwritten.items():
            details = {"within_s": SUMMARY_EVERY_S}
            self._begin(self._audit.record(None, principal, SUMMARY, REFUSED, item_count=count, details=details))

    async def close(self) -> None:
        """Wait for what is under way."""
        self.flush()
        await asyncio.gather(*self._tasks)

    def _begin(self, writing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_written(writing))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _written(writing: Coroutine[Any, Any, None]) -> None:
    try:
        await writing
    except Unavailable:
        return  # counted and logged by the audit; the caller was refused all the same
