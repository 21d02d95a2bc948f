"""``procurator export``: a session as a file that proves itself."""

from pathlib import Path
from typing import Annotated

import typer

from procurator.cli import console

Output = Annotated[Path, typer.Option("--output", "-o", help="The file to write.")]
Api = Annotated[bool, typer.Option("--api", help="Ask the API (PROCURATOR_API_URL) instead of ClickHouse.")]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def export(session_id: str, output: Output, api: Api = False) -> None:
        """Write a session's bundle: its exact events and the proof that they are in the signed ledger."""
        from procurator.private_files import replace_file

        data = _from_api(session_id) if api else _from_tables(session_id)
        replace_file(output, data)
        verified = f"procurator verify bundle {output} --key $(procurator keys show)"
        console.print(f"{len(data)} bytes in {output}; verify: {verified}", highlight=False, soft_wrap=True)


def _from_api(session_id: str) -> bytes:
    from procurator.config import settings
    from procurator.verify.remote import RemoteLedger

    remote = RemoteLedger(settings())
    try:
        return remote.seal(session_id)
    finally:
        remote.close()


def _from_tables(session_id: str) -> bytes:
    from uuid import UUID

    from procurator.cli.verify import read_notes
    from procurator.clickhouse import ClickHouse
    from procurator.config import settings
    from procurator.errors import UserError
    from procurator.verify.bundle_format import render
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
