"""IO: the exports of an installation: taken, worked on in the background one after another, shown, ended."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from procurator.access import Principal
from procurator.config import Settings
from procurator.errors import Backpressure, ProcuratorError
from procurator.query_api.export.job import UNFINISHED, FileFormat, Job
from procurator.query_api.export.snapshot import PART_POLICY, PartPolicy
from procurator.query_api.export.source import ExportSource
from procurator.query_api.export.store import JobStore
from procurator.query_api.export.worker import ExportWorker, Stopped

_log = logging.getLogger(__name__)

#: Unfinished exports of one principal.
UNFINISHED_MAX = 10
_LOOK_EVERY_S = 5.0
#: A file that is being written is left as it is: the next start writes it again.
_STOP_S = 5.0


class Exports:
    """Jobs of this and other processes on the same folder. Whatever was unfinished when a process died goes on."""

    def __init__(
        self, settings: Settings, checkpoint: Callable[[], str | None], policy: PartPolicy = PART_POLICY
    ) -> None:
        self.store = JobStore(settings.exports)
        self._source = ExportSource(settings)
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._worker = ExportWorker(self.store, self._source, checkpoint, self._stop.wait, policy)
        self._thread = threading.Thread(target=self._run, name="exports", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    async def close(self) -> None:
        """Stop working; what is unfinished goes on with the next start."""
        self._stop.set()
        self._wake.set()
        await asyncio.to_thread(self._thread.join, _STOP_S)
        self._source.close()

    async def begin(self, principal: Principal, filter: str, format: FileFormat, directory: str | None) -> Job:
        """Take a job. Raises Backpressure when this principal has too many that are unfinished."""
        job = Job.new(principal, filter, format, directory)
        await asyncio.to_thread(self._take, job)
        self._wake.set()
        return job

    async def visible(self, principal: Principal) -> list[Job]:
        """Return the jobs that somebody may know of, the newest first."""
        jobs = await asyncio.to_thread(lambda: list(self.store.jobs()))
        return [job for job in reversed(jobs) if job.is_visible_to(principal)]

    async def find(self, principal: Principal, export_id: str) -> Job | None:
        """Return a job, None when there is none that this principal may know of."""
        job = await asyncio.to_thread(self.store.find, export_id)
        return job if job is not None and job.is_visible_to(principal) else None

    async def end(self, job: Job) -> None:
        """Cancel a job that is unfinished; remove one that is finished, with its files."""
        if job.status in UNFINISHED:
            await asyncio.to_thread(self.store.cancel, job)
            self._wake.set()
        else:
            await asyncio.to_thread(self.store.remove, job)

    def _take(self, job: Job) -> None:
        mine = [each for each in self.store.jobs() if each.principal_id == job.principal_id]
        if sum(each.status in UNFINISHED for each in mine) >= UNFINISHED_MAX:
            raise Backpressure(f"{UNFINISHED_MAX} exports of yours are unfinished: wait for one, or cancel one")
        self.store.save(job)

    def _run(self) -> None:
        with suppress(Stopped):
            while not self._stop.is_set():
                with _logged("exports"):
                    self._work()
                self._wake.wait(_LOOK_EVERY_S)
                self._wake.clear()

    def _work(self) -> None:
        for seen in self.store.jobs():
            if seen.status in UNFINISHED:
                # Each on its own: the oldest is taken first, and would keep the later ones from ever being reached.
                with _logged(f"export {seen.export_id}"), self.store.lock(seen) as ours:
                    job = self.store.find(seen.export_id)
                    if ours and job is not None and job.status in UNFINISHED:
                        self._worker.run(job)


@contextmanager
def _logged(what: str) -> Iterator[None]:
    """Log an error, Stopped excepted, and go on: with the only thread every export of everybody would end."""
    try:
        yield
    except Stopped:
        raise
    except (ProcuratorError, OSError) as error:
        _log.error("%s: %s", what, error)
    except Exception:  # noqa: BLE001 - told above
        _log.exception(what)
