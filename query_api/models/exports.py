"""Bulk exports as the API takes and shows them."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from procurator.query_api.export.job import ExportFile, ExportStatus, FileFormat, Job, is_directory_name
from procurator.query_api.models.common import Model, Time, UuidText
from procurator.query_api.search.language import QUERY_CHARS_MAX


class ExportRequest(BaseModel):
    """What to export."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    filter: str = Field("", max_length=QUERY_CHARS_MAX, examples=["owner_team:payments started>=2026-11-01"])
    """Sessions in the query language of the list (docs/search.md); empty: every session in your scope."""
    format: FileFormat = FileFormat.NDJSON
    """How entries are written; the sessions themselves are NDJSON in either case."""
    directory: str | None = Field(None, examples=["november"])
    """A directory's name below the server's root of exports, to write to; without it the files are downloaded."""

    @field_validator("directory")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value is not None and not is_directory_name(value):
            raise ValueError('is one name of letters, digits, ".", "_" and "-", at most 100; for example november')
        return value


class Export(Model):
    """A bulk export and how far it is."""

    export_id: UuidText
    status: ExportStatus
    created_at: Time
    completed_at: Time | None
    """When it ended, in whatever way."""
    filter: str
    format: FileFormat
    directory: str | None
    sessions_total: int
    """Sessions in the snapshot; 0 until it was taken."""
    sessions_done: int
    events_expected: int
    """Entries of these sessions by their states; nothing is cut at it."""
    events_done: int
    """Entries written."""
    files: list[ExportFile]
    """Files that are complete; the last one is the manifest."""
    message: str | None
    """What it waits for, or why it failed."""


def shown(job: Job) -> Export:
    """Return a job as the API shows it."""
    return Export.model_validate(job.model_dump())
