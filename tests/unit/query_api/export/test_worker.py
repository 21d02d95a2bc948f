"""A job ends, whatever its statements do; none of them holds the others up for good."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import pytest

from procurator.access import Permission, Principal
from procurator.config import Settings
from procurator.errors import Unavailable
from procurator.query_api.export.job import ExportStatus, FileFormat, Job
from procurator.query_api.export.service import Exports
from procurator.query_api.export.source import Exceeded, ExportSource
from procurator.query_api.export.store import JobStore
from procurator.query_api.export.worker import ExportWorker, Stopped
from procurator.query_api.queries.base import Query

ADMIN = Principal("key:admin", None, frozenset({Permission.ADMIN}))


def away() -> Exception:
    return Unavailable("ClickHouse does not answer")


def exceeded() -> Exception:
    return Exceeded("Code: 159")


class Failing(ExportSource):
    """Raises ``errors`` one after another; then every answer is empty."""

    def __init__(self, errors: list[Exception]) -> None:
        super().__init__(Settings())
        self._errors = errors

    @contextmanager
    def rows(self, query: Query, format: FileFormat) -> Iterator[Iterator[bytes]]:
        if self._errors:
            raise self._errors.pop(0)
        yield iter(())


def work(root: Path, errors: list[Exception], pauses_max: int = 1000) -> tuple[Job, list[float]]:
    """Return the job as it is then, and the pauses; the process stops after ``pauses_max``."""
    pauses: list[float] = []

    def wait(pause_s: float) -> bool:
        if pause_s:
            pauses.append(pause_s)
        return len(pauses) > pauses_max

    store, job = JobStore(root), Job.new(ADMIN, "", FileFormat.NDJSON, None)
    store.save(job)
    source = Failing(errors)
    try:
        ExportWorker(store, source, lambda: None, wait).run(job)
    finally:
        source.close()
    found = store.find(job.export_id)
    assert found is not None
    return found, pauses


def test_a_query_that_exceeds_a_limit_each_time_fails_its_job(tmp_path: Path) -> None:
    job, pauses = work(tmp_path, [exceeded() for _ in range(10)])
    assert (job.status, pauses) == (ExportStatus.FAILED, [15.0, 15.0])
    assert job.message == (
        "ClickHouse did not answer in 3 tries: narrow the filter, for example by started>=2026-11-01, "
        "or have its limits raised; Code: 159"
    )


def test_a_query_that_exceeds_a_limit_once_is_asked_again(tmp_path: Path) -> None:
    job, _ = work(tmp_path, [exceeded(), exceeded()])
    assert (job.status, job.message) == (ExportStatus.COMPLETED, None)


def test_an_outage_is_waited_for_and_does_not_count(tmp_path: Path) -> None:
    outage = [away() for _ in range(100)]
    job, pauses = work(tmp_path, [exceeded(), *outage, exceeded(), away()])
    assert (job.status, len(pauses)) == (ExportStatus.COMPLETED, 103)
    job, pauses = work(tmp_path, [exceeded(), away(), exceeded(), away(), exceeded()])
    assert (job.status, pauses) == (ExportStatus.FAILED, [15.0, 2.0, 15.0, 2.0])


def test_a_job_is_cancelled_once_its_files_are_gone_whoever_dies_in_between(tmp_path: Path) -> None:
    class Dying(JobStore):
        def save(self, job: Job) -> None:
            if job.status is ExportStatus.CANCELLED:
                assert not self.files(job).exists()
                died.append(job)
                if len(died) == 1:
                    raise Stopped
            super().save(job)

    died: list[Job] = []
    store, job = Dying(tmp_path), Job.new(ADMIN, "", FileFormat.NDJSON, None)
    store.save(job)
    store.cancel(job)
    source = Failing([])
    worker = ExportWorker(store, source, lambda: None, lambda _: False)
    with pytest.raises(Stopped):
        worker.run(job)
    found = store.find(job.export_id)
    assert found is not None
    assert found.status is ExportStatus.RUNNING
    again = worker.run(found)
    source.close()
    assert (again.status, again.files, store.files(again).exists()) == (ExportStatus.CANCELLED, (), False)
    assert store.find(job.export_id) == again


def test_what_stops_leaves_the_job_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        work(tmp_path, [away() for _ in range(10)], pauses_max=3)
    [job] = JobStore(tmp_path).jobs()
    assert (job.status, job.message) == (ExportStatus.RUNNING, "waiting: ClickHouse does not answer")


@pytest.mark.parametrize("errors", [[RuntimeError("the client has been closed")], [exceeded() for _ in range(3)]])
def test_a_connection_closed_by_the_stop_fails_no_job(tmp_path: Path, errors: list[Exception]) -> None:
    stopping = Event()

    class Closed(Failing):
        @contextmanager
        def rows(self, query: Query, format: FileFormat) -> Iterator[Iterator[bytes]]:
            if len(errors) == 1:
                stopping.set()
            with super().rows(query, format) as pieces:
                yield pieces

    store, job = JobStore(tmp_path), Job.new(ADMIN, "", FileFormat.NDJSON, None)
    store.save(job)
    with closing(Closed(errors)) as source, pytest.raises(Stopped):
        # A pause is over at once, and the stop comes in the middle of the last statement.
        ExportWorker(store, source, lambda: None, lambda _: stopping.is_set()).run(job)
    [job] = store.jobs()
    assert job.status is ExportStatus.RUNNING


def test_a_fault_of_ours_fails_its_job_and_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job, _ = work(tmp_path, [KeyError("of ours")])
    assert job.status is ExportStatus.FAILED
    assert job.message == "internal error (KeyError): please report it with the API's log of this export"
    assert f"export {job.export_id}" in caplog.text
    assert "KeyError: 'of ours'" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("of ours"), OSError("no such disk")])
def test_a_job_that_cannot_even_be_failed_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    seen: list[str] = []
    reached = Event()

    def run(_: ExportWorker, job: Job) -> Job:
        seen.append(job.export_id)
        if job.filter == "bad":
            raise error
        reached.set()
        return job

    monkeypatch.setattr(ExportWorker, "run", run)
    exports = Exports(Settings(exports_dir=tmp_path), lambda: None)
    bad = Job.new(ADMIN, "bad", FileFormat.NDJSON, None)
    good = Job.new(ADMIN, "", FileFormat.NDJSON, None).model_copy(update={"created_at": "9"})
    for job in (bad, good):
        exports.store.save(job)
    exports.start()
    try:
        assert reached.wait(10)
    finally:
        asyncio.run(exports.close())
    assert seen[:2] == [bad.export_id, good.export_id]
