"""``procurator retention``: what goes when, legal holds, and erasure."""

import getpass
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from procurator.cli import console

if TYPE_CHECKING:
    from procurator.control_desk import ControlDesk
    from procurator.erasure import Erasures
    from procurator.retention.policy import RetentionPolicy
    from procurator.retention.run import Done

retention_app = typer.Typer(no_args_is_help=True, help="What goes when, legal holds, and erasing what a person said.")
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
def plan(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show what a run would remove now, and what legal holds keep."""
    from procurator.clickhouse import ClickHouse
    from procurator.clock import now_us
    from procurator.config import settings
    from procurator.retention.due import Due

    policy = _policy()
    clickhouse = ClickHouse.of(settings())
    try:
        with _erasures() as erasures:
            found = Due(clickhouse, policy, now_us()).plan(erasures.holds().values())
    finally:
        clickhouse.close()
    going = [
        {"org_id": org, "owner_team_id": team, "days": policy.days(org, team), "sessions": each[0], "entries": each[1]}
        for (org, team), each in sorted(found.going.items())
    ]
    if as_json:
        print(json.dumps({"sessions": found.sessions, "entries": found.entries, "items": going, "held": found.held}))
        return
    _print_table("organisation", "team", "days", "sessions", "entries", rows=[each.values() for each in going])
    print(f"{found.sessions} sessions with {found.entries} entries would go")
    for hold_id, sessions in found.held.items():
        print(f"hold {hold_id} keeps {sessions} sessions that would go otherwise")


@retention_app.command()
def run(
    no_export: Annotated[bool, typer.Option("--no-export", help="Remove without an export: nothing is left.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it is recorded in the ledger for ever.")] = "retention period",
    by: By = "",
) -> None:
    """Export, verify the export, have the purge signed, remove, verify the ledger; goes on where one was cut off."""
    from threading import Event

    # No handler of signals: Ctrl-C ends it anywhere, as anything may, and the next run goes on from there.
    done = _run(Event().wait, by or getpass.getuser(), reason, no_export)
    if done.resumed or done.undone:
        print(f"finished {done.resumed} purges of an earlier run, undid {done.undone} exports")
    print(f"{done.sessions} sessions removed in {done.purges} purges; the ledger verifies")


@retention_app.command()
def daily() -> None:
    """Run once a day until told to stop: what the embedded stack does (PROCURATOR_RETENTION_DAILY)."""
    from procurator import logs, metrics
    from procurator.config import settings
    from procurator.retention.daily import serve
    from procurator.runtime import Stop, announce_ready

    logs.to_stderr(settings().logs_are_json)
    stop = Stop()
    metrics.offer(settings())
    announce_ready()
    if settings().retention_daily:
        state = settings().data_dir.expanduser() / "retention" / "last-run.json"
        serve(stop, state, lambda: _run(stop.wait, "retention policy", "retention period", no_export=False))
    stop.wait()
    raise typer.Exit(stop.exit_code)


@retention_app.command()
def hold(
    org: Annotated[str, typer.Option(help="The organisation.")],
    reason: Reason,
    session_ids: Annotated[list[str] | None, typer.Argument(show_default=False)] = None,
    team: Annotated[str, typer.Option(help="Hold what this owner team has, now and later.")] = "",
    agent: Annotated[str, typer.Option(help="Hold what this agent does, now and later.")] = "",
    user: Annotated[str, typer.Option(help="Hold what this user starts, now and later.")] = "",
    label: Annotated[list[str] | None, typer.Option(help="Hold what has this label (name=value).")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Hold the whole organisation.")] = False,
    by: By = "",
) -> None:
    """Keep sessions, or all that fit every option given, from erasure and purge; print the hold's id."""
    from procurator.errors import UserError
    from procurator.retention.holds import HoldFilter

    chosen = [("team", team), ("agent", agent), ("user", user), *(("label", each) for each in label or ())]
    conditions = [(name, value) for name, value in chosen if value]
    if not session_ids and not conditions and not everything:
        raise UserError("name sessions, a filter such as --team, or --everything")
    # Through its text, so that nothing is recorded that cannot be read again.
    held = HoldFilter.parse(str(HoldFilter((("org", org), *conditions)))) if conditions or everything else None
    with _erasures() as erasures:
        print(erasures.hold(org, list(map(_session_id, session_ids or ())), by or getpass.getuser(), reason, held))


@retention_app.command()
def release(hold_id: str, reason: Reason, by: By = "") -> None:
    """Release a legal hold."""
    with _erasures() as erasures:
        erasures.release(hold_id, by or getpass.getuser(), reason)


@retention_app.command()
def holds() -> None:
    """List the legal holds in force."""
    with _erasures() as erasures:
        found = erasures.holds().values()
    rows = [
        (each.hold_id, each.org_id, len(each.session_ids), each.filter_text or "", each.requested_by, each.reason)
        for each in found
    ]
    _print_table("hold", "organisation", "sessions", "filter", "by", "reason", rows=rows)


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


def _run(wait: Callable[[float], bool], by: str, reason: str, no_export: bool) -> "Done":
    from procurator.clickhouse import ClickHouse
    from procurator.clock import now_us
    from procurator.config import settings
    from procurator.retention.purge import Purge
    from procurator.retention.removal import Removal
    from procurator.retention.run import Parts, run
    from procurator.verify.given import read_notes, trusted_keys
    from procurator.verify.installation import ledger_check
    from procurator.verify.ledger import verify_ledger
    from procurator.verify.report import Report

    chosen, policy = settings(), _policy()

    def verify() -> Report:
        with ledger_check(chosen, wait=wait) as check:
            return verify_ledger(check)

    clickhouse = ClickHouse.of(chosen)
    try:
        desk = _desk(clickhouse, wait)
        parts = Parts(
            clickhouse=clickhouse,
            desk=desk,
            removal=Removal(clickhouse, desk, chosen.kafka_bootstrap_servers),
            keys=trusted_keys(None, chosen),
            notes=lambda: read_notes([chosen.checkpoints]),
            verify=verify,
        )
        return run(parts, policy, Purge(by, reason, None if no_export else chosen.purge_exports), now_us())
    finally:
        clickhouse.close()


def _policy() -> "RetentionPolicy":
    from procurator.config import settings
    from procurator.retention.policy import load

    policy = load(settings().retention_periods)
    for warning in policy.warnings():
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    return policy


@contextmanager
def _erasures() -> "Iterator[Erasures]":
    from procurator.clickhouse import ClickHouse
    from procurator.config import settings
    from procurator.erasure import Erasures
    from procurator.runtime import Stop

    clickhouse = ClickHouse.of(settings())
    try:
        yield Erasures(clickhouse, _desk(clickhouse, Stop().wait))
    finally:
        clickhouse.close()


def _desk(clickhouse: Any, wait: Any) -> "ControlDesk":
    from procurator.config import settings
    from procurator.control_desk import ControlDesk
    from procurator.signer.service import config_of

    return ControlDesk(clickhouse, config_of(settings()).requests_folder, settings().checkpoints, wait)


def _print_table(*names: str, rows: Any) -> None:
    from rich.console import Console

    table = Table(*names)
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)


def _session_id(text: str) -> str:
    from uuid import UUID

    from procurator.errors import UserError

    try:
        return str(UUID(text))
    except ValueError:
        raise UserError(f"{text} is no session id") from None
