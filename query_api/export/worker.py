"""IO: works on one export, from wherever it stands, to its end."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping

import orjson

from procurator.access import Scope
from procurator.clock import now_us, to_rfc3339
from procurator.errors import Fatal, ProcuratorError, Unavailable, UserError
from procurator.query_api.export.files import write_file
from procurator.query_api.export.job import MANIFEST_FILE, SESSIONS_FILE, ExportStatus, FileFormat, Job
from procurator.query_api.export.snapshot import PART_POLICY, Part, PartPolicy, extent, parts
from procurator.query_api.export.source import Exceeded, ExportSource
from procurator.query_api.export.store import JobStore
from procurator.query_api.queries.export import SnapshotEntries, SnapshotHeads, SnapshotSessions
from procurator.query_api.search import parse

_log = logging.getLogger(__name__)

MANIFEST_FORMAT = "procurator-bulk-export/1"
_FREE_BYTES_MIN = 512 * 1024 * 1024
_RETRY_S = 2.0
#: A query that ClickHouse took and did not answer is asked so often, for each step of a job, with these pauses: other
#: queries may have held the memory that it lacked. Everybody's exports wait meanwhile, so there is an end to it.
_TRIES_MAX = 3
_EXCEEDED_RETRY_S = 15.0
#: How long the ledger may lag behind the states before an export goes on without what it lacks.
_BEHIND_S = 10.0
_LOOK_AGAIN_S = 0.2

#: Waits so long; returns True when the process stops.
Wait = Callable[[float], bool]


class Cancelled(ProcuratorError):
    """The job was asked to end."""


class Stopped(ProcuratorError):
    """The process stops: the job goes on when it starts again."""


class ExportWorker:
    """``checkpoint`` returns the newest signed note, None when nothing is signed; ``wait`` is told above."""

    def __init__(
        self,
        store: JobStore,
        source: ExportSource,
        checkpoint: Callable[[], str | None],
        wait: Wait,
        policy: PartPolicy = PART_POLICY,
    ) -> None:
        self._store = store
        self._source = source
        self._checkpoint = checkpoint
        self._wait = wait
        self._policy = policy

    # The snapshot is a file, then the state names its heads; each file is complete before the state counts it. Dying in
    # between writes that file again: the ledger before the heads does not change, so it is the same.
    def run(self, job: Job) -> Job:
        """Work on a job to its end, and return how that was. Raises Stopped."""
        job = self._saved(job, status=ExportStatus.RUNNING)
        try:
            self._check(job)
            if job.heads is None:
                job = self._take_snapshot(job)
            for part in self._left(job):
                job = self._patiently(job, lambda job, part=part: self._write(job, part))  # type: ignore[misc]
            return self._complete(job)
        except Cancelled:
            self._store.remove_files(job)  # Before it says so: who dies in between is asked again at the next start.
            return self._saved(job, status=ExportStatus.CANCELLED, files=(), completed_at=_now())
        except (UserError, Fatal, OSError) as error:
            return self._saved(job, status=ExportStatus.FAILED, message=str(error), completed_at=_now())
        except Stopped:
            raise
        except Exception as error:  # a fault of ours with one job stops no other, nor after a restart
            if self._wait(0):  # whoever stops us closed the connection meanwhile
                raise Stopped from error
            _log.exception("export %s", job.export_id)
            message = f"internal error ({type(error).__name__}): please report it with the API's log of this export"
            return self._saved(job, status=ExportStatus.FAILED, message=message, completed_at=_now())

    def _take_snapshot(self, job: Job) -> Job:
        """Fix which sessions, as they are, and where the ledger of each log ends. What comes later is not in it."""

        def take(job: Job) -> Job:
            query = SnapshotSessions(scope=job.scope, filter=parse(job.filter))
            with self._source.rows(query, FileFormat.NDJSON) as pieces:
                file = write_file(self._store.files(job), SESSIONS_FILE, self._guarded(job, pieces))
            with (self._store.files(job) / SESSIONS_FILE).open("rb") as lines:
                expected, ends = extent(lines)
            heads = self._heads_beyond(ends)
            return self._saved(
                job.with_file(file, heads=heads, sessions_total=file.rows, events_expected=expected), message=None
            )

        return self._patiently(job, take)

    def _heads_beyond(self, ends: Mapping[str, int]) -> dict[str, int]:
        """Return the ledger's heads once it has what the states count: these may be there a moment before.

        A ledger that is further behind is exported as it is.
        """
        give_up_at_s = time.monotonic() + _BEHIND_S
        while True:
            with self._source.rows(SnapshotHeads(scope=Scope.everywhere()), FileFormat.NDJSON) as pieces:
                rows = [orjson.loads(line) for line in b"".join(pieces).splitlines()]
            heads = {row["log_id"]: row["next_offset"] for row in rows}
            if all(heads.get(log_id, 0) >= end for log_id, end in ends.items()) or time.monotonic() > give_up_at_s:
                return heads
            if self._wait(_LOOK_AGAIN_S):
                raise Stopped

    def _left(self, job: Job) -> Iterator[Part]:
        written = sum(file.name != SESSIONS_FILE for file in job.files)
        with (self._store.files(job) / SESSIONS_FILE).open("rb") as lines:
            yield from parts(lines, self._policy, job.sessions_done, written)

    def _write(self, job: Job, part: Part) -> Job:
        assert job.heads is not None
        query = SnapshotEntries(scope=job.scope, session_ids=part.session_ids, heads=tuple(sorted(job.heads.items())))
        with self._source.rows(query, job.format) as pieces:
            file = write_file(self._store.files(job), f"{part.stem}.{job.format}", self._guarded(job, pieces))
        changes = {
            "sessions_done": job.sessions_done + len(part.session_ids),
            "events_done": job.events_done + file.rows,
        }
        return self._saved(job.with_file(file, **changes), message=None)

    def _complete(self, job: Job) -> Job:
        self._check(job)
        completed_at = _now()
        manifest = {
            "format": MANIFEST_FORMAT,
            "export_id": job.export_id,
            "created_at": job.created_at,
            "completed_at": completed_at,
            "filter": job.filter,
            "scope": {"org_id": job.org_id, "owner_team_ids": job.owner_team_ids},
            "file_format": job.format,
            "sessions": job.sessions_done,
            "events": job.events_done,
            "heads": [
                {"log_id": log_id, "next_offset": offset} for log_id, offset in sorted((job.heads or {}).items())
            ],
            "checkpoint": self._checkpoint(),
            "files": [file.model_dump() for file in job.files],
        }
        data = orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n"
        file = write_file(self._store.files(job), MANIFEST_FILE, [data])
        return self._saved(job.with_file(file), status=ExportStatus.COMPLETED, completed_at=completed_at)

    def _patiently(self, job: Job, step: Callable[[Job], Job]) -> Job:
        """Do a step, again and again while ClickHouse is away; UserError when it is there and cannot answer."""
        exceeded = 0
        while True:
            try:
                self._check(job)
                return step(job)
            except Unavailable as error:
                if self._wait(0):
                    raise Stopped from error
                retry_s = _RETRY_S
                if isinstance(error, Exceeded):
                    retry_s, exceeded = _EXCEEDED_RETRY_S, exceeded + 1
                    if exceeded == _TRIES_MAX:
                        advice = "narrow the filter, for example by started>=2026-11-01, or have its limits raised"
                        raise UserError(
                            f"ClickHouse did not answer in {_TRIES_MAX} tries: {advice}; {error}"
                        ) from error
                job = self._saved(job, message=f"waiting: {error}")
                if self._wait(retry_s):
                    raise Stopped from error

    def _guarded(self, job: Job, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._check(job)
            yield piece

    def _check(self, job: Job) -> None:
        """Raise Cancelled, Stopped, or UserError when there is no room."""
        if self._store.is_cancelled(job):
            raise Cancelled
        if self._wait(0):
            raise Stopped
        if self._store.free_bytes() < _FREE_BYTES_MIN:
            raise UserError(f"the disk has less than {_FREE_BYTES_MIN >> 20} MiB left")

    def _saved(self, job: Job, **changes: object) -> Job:
        job = job.model_copy(update=changes)
        self._store.save(job)
        return job


def _now() -> str:
    return to_rfc3339(now_us())
