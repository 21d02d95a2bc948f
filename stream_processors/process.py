"""The life of a worker's process: what runs in it side by side, and what ends it."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import faust

from procurator import metrics
from procurator.errors import Fatal, ProcuratorError
from procurator.stream_processors.budgets.overseer import Overseer
from procurator.stream_processors.faust_app import AsIs
from procurator.stream_processors.transport import Batch
from procurator.stream_processors.worker import Worker

_log = logging.getLogger(__name__)

_TOPIC_CHECK_S = 10.0


class Process:
    """One run of a worker. Whatever fails in it ends it: going on without a part would lose what that part does.

    ``topic_id()`` asks Kafka, blocking; ``announce_ready()`` is called when partitions have been assigned, and
    ``stopping(exit_code)`` when a signal came or something failed, before anything is stopped.
    """

    def __init__(
        self,
        app: faust.App,
        worker: Worker,
        topic_id: Callable[[], str],
        announce_ready: Callable[[], None],
        stopping: Callable[[int], None],
        overseer: Overseer | None = None,
    ) -> None:
        self._app = app
        self._worker = worker
        self._overseer = overseer
        self._topic_id = topic_id
        self._announce_ready = announce_ready
        self._stopping = stopping
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Work until SIGTERM or SIGINT and return the exit code, or raise what something failed with."""
        loop = asyncio.get_running_loop()
        self._end: asyncio.Future[int] = loop.create_future()
        for number, exit_code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
            loop.add_signal_handler(number, self._stop, exit_code)
        self._app.agent(self._app.topic(self._worker.topic, schema=AsIs()))(self._fold)
        self._app.on_rebalance_complete.connect(self._on_assigned, weak=False)
        self._spawn(self._start())
        self._spawn(self._watch_app())
        self._spawn(self._watch_topic())
        self._spawn(self._worker.publish_for_ever())
        if self._overseer is not None:
            self._spawn(self._overseer.run_for_ever())
        try:
            return await self._end
        finally:
            await self._app.stop()
            for task in self._tasks:
                task.cancel()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - it ends the process, which raises it
            if not self._end.done():
                _log.error("stopping: %s", error)
                self._stopping(2)
                self._end.set_exception(error)

    def _stop(self, exit_code: int) -> None:
        if not self._end.done():
            self._stopping(exit_code)
            self._end.set_result(exit_code)

    async def _start(self) -> None:
        if self._overseer is not None:
            await self._overseer.informed.wait()
        await self._app.start()

    async def _fold(self, batches: AsyncIterator[Batch]) -> None:
        async for batch in batches:
            await self._guard(self._worker.process(batch))
            metrics.count_batch(self._worker.topic, len(batch.records))
            if self._end.done():
                # Faust would go on with the next batch, and lose this one.
                await asyncio.Event().wait()

    async def _watch_app(self) -> None:
        await self._app._crashed.wait()
        raise Fatal(f"the stream stopped: {self._app.crash_reason!r}")

    async def _watch_topic(self) -> None:
        """Raise Fatal when the topic is not the one that we started with: offsets begin anew, and so must we."""
        while True:
            await asyncio.sleep(_TOPIC_CHECK_S)
            with suppress(ProcuratorError):
                if await asyncio.to_thread(self._topic_id) != self._worker.topic_id:
                    break
        raise Fatal(f"{self._worker.topic} was deleted and created anew: start again")

    async def _on_assigned(self, *_: Any, **__: Any) -> None:
        self._announce_ready()
        if self._overseer is not None:
            self._spawn(self._worker.open_all())
