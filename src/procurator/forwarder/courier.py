"""IO: one endpoint's deliveries, one after the other.

Crash order: the batch and its numbers are written to Kafka, then it is sent, then the positions behind it are written
together with the next batch. Dying anywhere repeats a batch, entry by entry under the same numbers; none is left out.
"""

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import replace
from typing import Any

from procurator import metrics
from procurator.clock import now_us
from procurator.errors import ProcuratorError, UserError
from procurator.forwarder import chores, counts, formats
from procurator.forwarder.batch import Batch, gather
from procurator.forwarder.depot import Depot
from procurator.forwarder.journal import Change
from procurator.forwarder.post import Post
from procurator.forwarder.retry import Verdict, judge, retry_after_s
from procurator.forwarder.sender import Answer
from procurator.forwarder.shelf import Away, Shelf, unless_away
from procurator.topics import WEBHOOK_DEAD_LETTERS, WEBHOOK_STATE
from procurator.webhooks.endpoint import Endpoint
from procurator.webhooks.state import DeadLetter, State

_log = logging.getLogger(__name__)

_AWAY_S = 1.0
#: A position that moved without a delivery is written so often.
_IDLE_S = 10.0


class Courier:
    """Delivers to one endpoint from `run` until that is cancelled; `update` and `notice` tell it what is new."""

    def __init__(self, depot: Depot, endpoint: Endpoint, state: State) -> None:
        self._depot = depot
        self._endpoint = endpoint
        self._state = state
        self._post = Post(depot.vault, depot.sender)
        self._shelf = Shelf(depot.window, depot.history)
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        self._batch: Batch | None = None
        self._entries_max = depot.batches.entries_max
        self._saved_at_s = self._sent_at_s = float("-inf")
        self._unsaved = self._moved = False

    def update(self, endpoint: Endpoint) -> None:
        """Take a new definition; what was waiting is tried at once. One that is the same changes nothing."""
        if endpoint == self._endpoint:  # Else whoever fails and says so in its state would be woken by that, for ever.
            return
        if endpoint.revision != self._endpoint.revision:
            self._state = replace(self._state, retry_at=None)
        self._endpoint = endpoint
        self._changed.set()
        self._news.set()

    def notice(self) -> None:
        """There is more in the window."""
        self._news.set()

    @property
    def condition(self) -> str:
        """Working, failing, stopped by us, or disabled by whoever it belongs to."""
        if not self._endpoint.enabled:
            return "disabled"
        if self._state.stopped_revision == self._endpoint.revision:
            return "stopped"
        return "failing" if self._state.failures else "working"

    @property
    def lag(self) -> int:
        """How many records are between the endpoint and the end of the logs."""
        ends, positions = self._depot.window.ends, self._state.positions
        return sum(max(0, end - positions.get(log_id, end)) for log_id, end in ends.items())

    async def run(self) -> None:
        """Deliver until cancelled."""
        said = ""
        try:
            while True:
                try:
                    await self._step()
                    said = ""
                except UserError as error:  # Secrets that cannot be opened, say; a new start tries again.
                    _log.warning("webhook %s: %s", self._endpoint.endpoint_id, error)
                    why, failures = str(error), max(1, self._state.failures)
                    await self._save(failures=failures, last_error=why, last_failure_at=now_us())
                    await self._changed.wait()
                except ProcuratorError:  # what all endpoints share is away
                    raise
                except Away as away:
                    if str(away) != said:
                        _log.warning("webhook %s: %s: waiting", self._endpoint.endpoint_id, away)
                    said = str(away)
                    await asyncio.sleep(_AWAY_S)
                except Exception as error:  # noqa: BLE001 - a fault of ours with one endpoint stops no other
                    _log.exception("webhook %s", self._endpoint.endpoint_id)
                    await self._stop(f"internal error: {type(error).__name__}: {error}")
                    await self._changed.wait()
        finally:
            await self._post.close()

    async def _step(self) -> None:
        self._changed.clear()
        await self._do_requests()
        if self.condition in ("stopped", "disabled"):
            self._batch = None
            self._shelf.clear()
            await self._changed.wait()
        elif (wait_s := ((self._state.retry_at or 0) - now_us()) / 1e6) > 0:
            await _first(self._changed, wait_s)
        elif batch := await self._next_batch():
            await self._deliver(batch)

    # --- what is next

    async def _next_batch(self) -> Batch | None:
        """Return the batch to be sent, kept in Kafka already; None when there is nothing yet."""
        if self._batch is None and self._state.batch:  # begun by an earlier process
            entries = await unless_away(self._depot.history.entries(self._state.batch))
            self._batch = Batch([entry for entry in entries if entry is not None], self._state.batch_ends)
        if self._batch is not None:
            return self._batch
        self._news.clear()
        batch, full = await self._gathered()
        if not batch.entries:
            await self._move_to(batch)
            return None
        linger_s = self._sent_at_s + self._depot.batches.linger_s - time.monotonic()
        if not full and linger_s > 0:
            await asyncio.sleep(linger_s)
            batch, _ = await self._gathered()
        self._batch = batch
        self._sent_at_s = time.monotonic()
        await self._save(batch=batch.pointers, batch_ends=batch.ends)
        return batch

    async def _gathered(self) -> tuple[Batch, bool]:
        """Return what can be delivered now, and whether it fills a batch."""
        chunks = await self._shelf.near(self._state.positions)
        form = self._endpoint.format
        policy = replace(self._depot.batches, entries_max=self._entries_max)
        return gather(
            chunks,
            self._state.positions,
            lambda entry: self._endpoint.wants(entry.subject),
            lambda entry: formats.piece(entry, form).size_bytes,
            policy,
        )

    async def _move_to(self, batch: Batch) -> None:
        """Go past what is not for this endpoint; wait where there is nothing more."""
        moved = batch.ends != self._state.positions
        self._state = replace(self._state, positions=batch.ends)
        self._moved = self._moved or moved
        if self._unsaved or (self._moved and time.monotonic() - self._saved_at_s > _IDLE_S):
            await self._save()
        if moved:
            await asyncio.sleep(0)  # others may have something to deliver
        else:
            await _first(self._news, _IDLE_S)

    # --- sending

    async def _deliver(self, batch: Batch) -> None:
        revision = self._endpoint.revision
        answer = await self._post.entries(self._endpoint, batch.entries, self._state.batch, self._state.next_sequence)
        verdict = judge(answer.status)
        counts.ATTEMPTS.labels(verdict.value).inc()
        if verdict is Verdict.TAKEN:
            counts.ENTRIES.inc(len(batch.entries))
            self._entries_max = min(self._entries_max * 2, self._depot.batches.entries_max)
            self._done_with(batch, delivered=self._state.delivered + len(batch.entries), last_success_at=now_us())
        elif revision != self._endpoint.revision:
            pass  # What an earlier definition's receiver says is nothing against this one, which is tried at once.
        elif verdict is Verdict.GONE:
            await self._stop("the receiver answered 410: it wants nothing any more")
        else:
            await self._failed(batch, verdict, answer)

    def _done_with(self, batch: Batch, **fields: Any) -> None:
        """Go behind a batch; written with the next one, since repeating this one would do no harm."""
        numbers = sum(len(each.offsets) for each in self._state.batch)
        quiet: dict[str, Any] = {"failures": 0, "failing_since": None, "breaker_open": False, "retry_at": None}
        behind = {"positions": batch.ends, "next_sequence": self._state.next_sequence + numbers}
        self._state = replace(self._state, **{**quiet, **behind, "batch": (), "batch_ends": {}, **fields})
        self._batch = None
        self._unsaved = True

    async def _failed(self, batch: Batch, verdict: Verdict, answer: Answer) -> None:
        policy, at_us, failures = self._depot.retries, now_us(), self._state.failures + 1
        since = self._state.failing_since or at_us
        if policy.gives_up(verdict, len(batch.entries), failures, (at_us - since) / 1e6):
            await self._bury(batch, answer, failures)
            return
        alone, cut = verdict is not Verdict.REFUSED or len(batch.entries) == 1, {}
        if verdict is Verdict.REFUSED:  # Else it may have been taken: the same entries keep the same numbers.
            batch = self._smaller(batch, len(batch.entries) // 2)
            cut = {"batch": batch.pointers, "batch_ends": batch.ends}
        delay_s = policy.delay_s(failures, random.random(), retry_after_s(answer.retry_after, at_us / 1e6))
        await self._save(
            **cut,
            failures=failures if alone else 0,
            failing_since=since if alone else None,
            breaker_open=policy.breaker_open(failures),
            retry_at=at_us + int(delay_s * 1e6) if alone else None,
            last_failure_at=at_us,
            last_error=str(answer),
        )

    def _smaller(self, batch: Batch, entries: int) -> Batch:
        """Send less at once: one culprit shall not take others with it."""
        self._entries_max = max(1, entries)
        self._batch = batch.first(self._entries_max)
        return self._batch

    async def _bury(self, batch: Batch, answer: Answer, attempts: int) -> None:
        endpoint_id, at_us = self._state.endpoint_id, now_us()
        sequence, why = self._state.next_sequence, str(answer)
        letter = DeadLetter(endpoint_id, sequence, self._state.batch, at_us, why, answer.status, attempts)
        self._done_with(batch, last_failure_at=at_us, last_error=why)
        change = Change(WEBHOOK_DEAD_LETTERS, letter.key, letter.to_record())
        self._depot.letters[letter.key] = letter
        metrics.DEAD_LETTERS.labels("webhook").inc()
        await self._save(change)
        if len(self._depot.letters_of(endpoint_id)) >= self._depot.retries.dead_letters_max:
            await self._stop(f"{self._depot.retries.dead_letters_max:,} dead letters wait to be replayed")

    # --- what was asked for

    async def _do_requests(self) -> None:
        for request in self._endpoint.requests:
            if request.request_id not in self._state.handled:
                self._state = await chores.done(self._depot, self._post, self._endpoint, self._state, request)
                self._shelf.clear()
                self._batch = self._batch and replace(self._batch, ends=self._state.batch_ends)
                await self._save()

    # --- keeping it

    async def _stop(self, reason: str) -> None:
        _log.warning("webhook %s is stopped: %s", self._endpoint.endpoint_id, reason)
        await self._save(stopped_revision=self._endpoint.revision, stopped_reason=reason, last_failure_at=now_us())

    async def _save(self, *also: Change, **fields: Any) -> None:
        self._state = replace(self._state, **fields)
        self._saved_at_s, self._unsaved, self._moved = time.monotonic(), False, False
        own = Change(WEBHOOK_STATE, self._state.endpoint_id, self._state.to_record())
        await self._depot.journal.write(*also, own)


async def _first(event: asyncio.Event, timeout_s: float) -> None:
    """Wait for an event, at most so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
