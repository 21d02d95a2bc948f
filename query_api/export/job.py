"""A bulk export as it is kept on disk: what was asked for, by whom, the snapshot it is of, and how far it is. Pure."""

import re
from enum import StrEnum
from typing import Any, Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from procurator.access import Permission, Principal, Scope
from procurator.clock import now_us, to_rfc3339

#: One name of a folder: nothing that a path could be made of.
_DIRECTORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
SESSIONS_FILE, MANIFEST_FILE = "sessions.ndjson", "manifest.json"


class ExportStatus(StrEnum):
    """Where a job is."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


UNFINISHED = frozenset({ExportStatus.QUEUED, ExportStatus.RUNNING})


class FileFormat(StrEnum):
    """How the entries are written."""

    NDJSON = "ndjson"
    PARQUET = "parquet"


class ExportFile(BaseModel):
    """One file that is complete."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    rows: int
    bytes: int
    sha256: str
    """SHA-256 of the file, in hexadecimal."""


class Job(BaseModel):
    """The state of an export, rewritten after each file; whoever finds it unfinished goes on from there."""

    model_config = ConfigDict(frozen=True)

    export_id: str
    status: ExportStatus
    created_at: str
    completed_at: str | None = None
    principal_id: str
    org_id: str | None
    owner_team_ids: tuple[str, ...] | None
    filter: str
    format: FileFormat
    directory: str | None
    #: The snapshot: log id → the offset that it ends before. None until it was taken.
    heads: dict[str, int] | None = None
    sessions_total: int = 0
    events_expected: int = 0
    sessions_done: int = 0
    events_done: int = 0
    files: tuple[ExportFile, ...] = ()
    #: What it waits for, or why it failed.
    message: str | None = None

    @classmethod
    def new(cls, principal: Principal, filter: str, format: FileFormat, directory: str | None) -> Self:
        """Return a job that is to begin, of what ``principal`` may see now."""
        scope = principal.scope
        return cls(
            export_id=str(uuid4()),
            status=ExportStatus.QUEUED,
            created_at=to_rfc3339(now_us()),
            principal_id=principal.principal_id,
            org_id=scope.org_id,
            owner_team_ids=scope.owner_team_ids,
            filter=filter,
            format=format,
            directory=directory,
        )

    @property
    def scope(self) -> Scope:
        """Whose sessions it may hold: what whoever asked for it could see then."""
        return Scope(self.org_id, self.owner_team_ids)

    def is_visible_to(self, principal: Principal) -> bool:
        """Tell whether somebody may know of it: its maker, or an administrator, who can still see all that it holds."""
        scope = principal.scope
        sees_all = scope.org_id in (None, self.org_id) and (
            scope.owner_team_ids is None
            or (self.owner_team_ids is not None and set(self.owner_team_ids) <= set(scope.owner_team_ids))
        )
        return sees_all and (principal.principal_id == self.principal_id or principal.may(Permission.ADMIN))

    def with_file(self, file: ExportFile, **changes: Any) -> Self:
        """Return the job with one more file."""
        return self.model_copy(update={"files": (*self.files, file), **changes})


def is_directory_name(text: str) -> bool:
    """Tell whether ``text`` may name a directory of an export: one plain name."""
    return _DIRECTORY.fullmatch(text) is not None
