"""IO: exports on disk: a folder for each job, with its state, its lock and, unless it goes elsewhere, its files.

::

    <root>/jobs/<export id>/job.json   state, replaced whole
                           /lock       held by the process that works on it
                           /cancel     there when it is to end
                           /files/     what is downloaded
    <root>/directories/<organisation>/<directory>/<export id>/
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from procurator.errors import Fatal
from procurator.private_files import replace_file
from procurator.query_api.export.job import UNFINISHED, Job


class JobStore:
    """Every job of one root. Processes share it; `lock` says who works on a job."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def jobs(self) -> Iterator[Job]:
        """Yield every job, the oldest first."""
        folder = self._root / "jobs"
        found = [job for each in (folder.iterdir() if folder.is_dir() else ()) if (job := self.find(each.name))]
        yield from sorted(found, key=lambda job: job.created_at)

    def find(self, export_id: str) -> Job | None:
        """Return a job, None when there is none of that id."""
        try:
            return Job.model_validate_json((self._folder(export_id) / "job.json").read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise Fatal(f"export {export_id}: its state cannot be read: {error}") from error

    def save(self, job: Job) -> None:
        """Write a job's state; after it, whatever dies, this is what is found."""
        folder = self._folder(job.export_id)
        if job.status in UNFINISHED:
            self.files(job).mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(folder / "job.json", job.model_dump_json().encode())

    def files(self, job: Job) -> Path:
        """Return the folder of a job's files."""
        if job.directory is None:
            return self._folder(job.export_id) / "files"
        # Any text names an organisation: its digest names its folder.
        owner = "operator" if job.org_id is None else f"org-{sha256(job.org_id.encode()).hexdigest()[:16]}"
        return self._root / "directories" / owner / job.directory / job.export_id

    def file(self, job: Job, name: str) -> Path | None:
        """Return the path of one of a job's files, None when it has none of that name."""
        path = self.files(job) / name
        return path if any(file.name == name for file in job.files) and path.is_file() else None

    def cancel(self, job: Job) -> None:
        """Ask whoever works on a job to end it."""
        (self._folder(job.export_id) / "cancel").touch()

    def is_cancelled(self, job: Job) -> bool:
        """Tell whether a job was asked to end."""
        return (self._folder(job.export_id) / "cancel").exists()

    def remove_files(self, job: Job) -> None:
        """Remove a job's files, wherever they are."""
        shutil.rmtree(self.files(job), ignore_errors=True)

    def remove(self, job: Job) -> None:
        """Remove a job with its files."""
        self.remove_files(job)
        shutil.rmtree(self._folder(job.export_id), ignore_errors=True)

    @contextmanager
    def lock(self, job: Job) -> Iterator[bool]:
        """Work on a job, if no other process does; its end, however it comes, lets go."""
        with (self._folder(job.export_id) / "lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def free_bytes(self) -> int:
        """Return how much room the disk has."""
        return shutil.disk_usage(self._root).free

    def _folder(self, export_id: str) -> Path:
        return self._root / "jobs" / str(UUID(export_id))  # whatever was asked for, an id and nothing else
