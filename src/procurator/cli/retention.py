"""``procurator retention``: legal holds and erasure."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from procurator.cli import console

if TYPE_CHECKING:
    from procurator.erasure import Erasures

retention_app = typer.Typer(no_args_is_help=True, help="Legal holds, and erasing what a person said.")
Reason = Annotated[str, typer.Option(help="Why; it is recorded in the ledger for ever.")]
By = Annotated[str, typer.Option(help="Who asks; default: the user of this machine.")]

_REMAINS = (
    "the bytes remain in Kafka until its retention has passed (14 days), in exports and backups made before, and in "
    "the sessions table as far as a session's state names the user"
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(retention_app, name="retention")


@retention_app.command()
def hold(session_ids: list[str], org: Annotated[str, typer.Option()], reason: Reason, by: By = "") -> None:
    """Keep sessions from erasure and purge until the hold is released; print the hold's id."""
    with _erasures() as erasures:
        print(erasures.hold(org, list(map(_session_id, session_ids)), by or getpass.getuser(), reason))


@retention_app.command()
def release(hold_id: str, reason: Reason, by: By = "") -> None:
    """Release a legal hold."""
    with _erasures() as erasures:
        erasures.release(hold_id, by or getpass.getuser(), reason)


@retention_app.command()
def holds() -> None:
    """List the legal holds in force."""
    table = Table("hold", "organisation", "sessions", "by", "reason")
    with _erasures() as erasures:
        for hold_id, each in erasures.holds().items():
            table.add_row(hold_id, each["org_id"], str(len(each["session_ids"])), each["requested_by"], each["reason"])
    console.print(table)


@retention_app.command()
def erase(
    reason: Reason,
    session: Annotated[str, typer.Option(help="Erase one session.")] = "",
    user: Annotated[str, typer.Option(help="Erase every session that a user started.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Finish signed erasures that were cut off.")] = False,
    by: By = "",
) -> None:
    """Erase the bytes and texts of events; the ledger still verifies, and says that they were erased."""
    from procurator.errors import UserError

    if bool(session) + bool(user) + resume != 1:
        raise UserError("name what to erase: --session ID, --user ID or --resume")
    with _erasures() as erasures:
        if resume:
            console.print(f"{erasures.resume()} erasures carried out", highlight=False)
            return
        session_ids = [_session_id(session)] if session else erasures.sessions_of_user(user)
        subject = f"session {session}" if session else f"user {user}"
        done = erasures.erase(session_ids, subject, by or getpass.getuser(), reason)
    print(f"{done.erasure_id}: {done.entries} entries of {done.sessions} sessions")
    console.print(_REMAINS, highlight=False, soft_wrap=True)


@contextmanager
def _erasures() -> "Iterator[Erasures]":
    from procurator.clickhouse import ClickHouse
    from procurator.config import settings
    from procurator.erasure import Erasures
    from procurator.runtime import Stop
    from procurator.signer.service import config_of

    clickhouse = ClickHouse.of(settings())
    try:
        yield Erasures(clickhouse, config_of(settings()).requests_folder, Stop().wait)
    finally:
        clickhouse.close()


def _session_id(text: str) -> str:
    from uuid import UUID

    from procurator.errors import UserError

    try:
        return str(UUID(text))
    except ValueError:
        raise UserError(f"{text} is no session id") from None
