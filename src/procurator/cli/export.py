"""``procurator export``: a session as a file that proves itself, or many sessions as files."""

from pathlib import Path
from typing import Annotated

import typer

from procurator.cli import console

SessionId = Annotated[str | None, typer.Argument(help="One session; or give --filter.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="The file to write; with --filter the folder.")]
Api = Annotated[bool, typer.Option("--api", help="Ask the API (PROCURATOR_API_URL) instead of ClickHouse.")]
Readable = Annotated[bool, typer.Option("--readable", help="With what the events say beside the proof; from the API.")]
Filter = Annotated[
    str | None,
    typer.Option("--filter", help="Export every session that this search finds (docs/search.md); from the API."),
]
Format = Annotated[str, typer.Option("--format", help="How entries are written with --filter: ndjson or parquet.")]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def export(
        output: Output,
        session_id: SessionId = None,
        api: Api = False,
        readable: Readable = False,
        filter: Filter = None,
        format: Format = "ndjson",
    ) -> None:
        """Write a session's bundle, exact events and proof that they are in the signed ledger; or many files."""
        from procurator.errors import UserError

        if (session_id is None) == (filter is None):
            raise UserError("name one session, or give --filter; for example --filter 'agent:billing'")
        if filter is not None:
            _many(filter, format, output)
        else:
            assert session_id is not None
            _one(session_id, output, api, readable)


def _one(session_id: str, output: Path, api: bool, readable: bool) -> None:
    from procurator.private_files import replace_file

    data = _from_api(session_id, readable) if api or readable else _from_tables(session_id)
    replace_file(output, data)
    verified = f"procurator verify bundle {output} --key $(procurator keys show)"
    console.print(f"{len(data)} bytes in {output}; verify: {verified}", highlight=False, soft_wrap=True)


def _many(filter: str, format: str, folder: Path) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from procurator.config import settings
    from procurator.export_client import bulk_export

    columns = (TextColumn("sessions"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        done = bulk_export(
            settings(),
            filter,
            format,
            folder,
            lambda export: bar.update(task, completed=export["sessions_done"], total=export["sessions_total"] or None),
        )
    sessions, events, files = done["sessions_done"], done["events_done"], len(done["files"])
    console.print(
        f"{sessions} sessions, {events} entries in {files} files in {folder}", highlight=False, soft_wrap=True
    )


def _from_api(session_id: str, readable: bool) -> bytes:
    from procurator.config import settings
    from procurator.verify.remote import RemoteLedger

    remote = RemoteLedger(settings())
    try:
        return remote.export(session_id) if readable else remote.seal(session_id)
    finally:
        remote.close()


def _from_tables(session_id: str) -> bytes:
    from uuid import UUID

    from procurator.clickhouse import ClickHouse
    from procurator.config import settings
    from procurator.errors import UserError
    from procurator.verify.bundle_format import render
    from procurator.verify.given import read_notes
    from procurator.verify.seal import Sealer
    from procurator.verify.source import LedgerSource

    try:
        identity = UUID(session_id)
    except ValueError:
        raise UserError(f"{session_id} is no session id") from None
    clickhouse = ClickHouse.of(settings())
    try:
        return render(Sealer(LedgerSource(clickhouse)).seal(identity, read_notes([settings().checkpoints])))
    finally:
        clickhouse.close()
