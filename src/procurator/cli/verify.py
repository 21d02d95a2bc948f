"""``procurator verify``: whether the ledger, or a piece of it, is what was signed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from procurator.cli import console

if TYPE_CHECKING:
    from procurator.config import Settings
    from procurator.verify.consistency import BringProof
    from procurator.verify.report import Report

verify_app = typer.Typer(no_args_is_help=True, help="Verify the ledger, an export, a session or two checkpoints.")

Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key", help="A verifier key, or a file with one; default: the signer's .pub file.", show_default=False
    ),
]
Checkpoints = Annotated[
    list[Path] | None,
    typer.Option("--checkpoints", help="Files of checkpoints, anchors kept elsewhere among them.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Api = Annotated[bool, typer.Option("--api", help="Ask the API (PROCURATOR_API_URL) instead of ClickHouse.")]
NoPrices = Annotated[bool, typer.Option("--no-prices", help="Do not derive costs: needs no Kafka.")]

#: A watcher that found tampering ends only after Prometheus, where it asks, has seen it.
_SEEN_S = 45.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(verify_app, name="verify")


@verify_app.command()
def ledger(
    key: Keys = None,
    checkpoints: Checkpoints = None,
    no_prices: NoPrices = False,
    state: Annotated[
        Path | None,
        typer.Option(help="Go on where the verification kept in this file ended, and keep how far this one comes."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="With --state: start over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Derive every leaf, column, tree and signature again from ClickHouse, and compare.

    Without --state always the whole ledger; with it what lies before is not read again.
    """
    from dataclasses import replace

    from procurator.config import settings
    from procurator.private_files import replace_file
    from procurator.verify.installation import ledger_check
    from procurator.verify.ledger import verify_ledger
    from procurator.verify.positions import Position

    with _progress(as_json) as progress, ledger_check(settings(), key, checkpoints, no_prices, progress) as check:
        if state is not None:
            start = None if full or not state.exists() else Position.parse(state.read_text("utf-8"), str(state))
            keep = lambda position: replace_file(state, position.render().encode())  # noqa: E731
            check = replace(check, start=start, keep=keep)
        report = verify_ledger(check)
    answer(report, as_json)


@verify_app.command()
def bundle(file: Path, key: Keys = None, as_json: AsJson = False) -> None:
    """Verify a session's bundle or export, offline, with nothing but the verifier key."""
    from procurator.config import settings
    from procurator.verify.bundle_format import BUNDLE_BYTES_MAX
    from procurator.verify.export_format import verify_file
    from procurator.verify.given import trusted_keys

    with file.open("rb") as opened:
        data = opened.read(BUNDLE_BYTES_MAX + 1)
    answer(verify_file(data, trusted_keys(key, settings())), as_json)


@verify_app.command()
def export(
    folder: Path,
    digest: Annotated[str, typer.Option(help="SHA-256 of its manifest, as the signed purge has it.")] = "",
    key: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Verify what a purge has exported, offline: files against the manifest, bundles against the signed ledger."""
    from procurator.config import settings
    from procurator.errors import UserError
    from procurator.retention.archive import verify_archive
    from procurator.verify.given import trusted_keys

    try:
        expected = bytes.fromhex(digest)
    except ValueError:
        raise UserError("--digest: 64 hexadecimal digits") from None
    answer(verify_archive(folder, trusted_keys(key, settings()), expected or None), as_json)


@verify_app.command()
def session(
    session_id: str,
    key: Keys = None,
    checkpoints: Checkpoints = None,
    no_prices: NoPrices = False,
    as_json: AsJson = False,
) -> None:
    """Verify one session in ClickHouse: its entries, their place in the signed tree, their columns."""
    from uuid import UUID

    from procurator.config import settings
    from procurator.errors import UserError
    from procurator.verify.installation import ledger_check
    from procurator.verify.session import verify_session

    try:
        identity = UUID(session_id)
    except ValueError:
        raise UserError(f"{session_id} is no session id") from None
    with ledger_check(settings(), key, checkpoints, no_prices) as check:
        report = verify_session(check, identity)
    answer(report, as_json)


@verify_app.command()
def consistency(old: Path, new: Path, key: Keys = None, api: Api = False, as_json: AsJson = False) -> None:
    """Verify that the checkpoint in NEW continues the one in OLD (the last one of each file)."""
    from procurator.config import settings
    from procurator.verify.consistency import verify_two
    from procurator.verify.given import read_notes, trusted_keys

    with _proofs(settings(), api) as (_, bring):
        report = verify_two(read_notes([old])[-1], read_notes([new])[-1], trusted_keys(key, settings()), bring)
    answer(report, as_json)


@verify_app.command()
def watch(
    seen: Annotated[Path, typer.Option(help="The checkpoints that this watcher saw: its own anchor file.")],
    key: Keys = None,
    api: Api = False,
    every_s: Annotated[float, typer.Option(min=1, help="Seconds between looks.")] = 30.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and exit.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check for ever that each new checkpoint continues the last one seen; exit at the first that does not."""
    from procurator import metrics
    from procurator.checkpoint_file import append_checkpoint
    from procurator.config import settings
    from procurator.errors import Unavailable
    from procurator.runtime import Stop
    from procurator.verify.consistency import verify_two
    from procurator.verify.given import read_notes, trusted_keys
    from procurator.verify.report import Verdict

    keys, stop = trusted_keys(key, settings()), Stop()
    metrics.VERIFICATION.set(Verdict.CANNOT_TELL)  # Until it has looked, which may be never.
    metrics.offer(settings())
    with _proofs(settings(), api) as (newest, bring):
        while True:
            try:
                note = newest()
                last = read_notes([seen])[-1] if seen.exists() else note
                report = verify_two(last, note, keys, bring)
                if report.verdict is Verdict.SOUND and (note != last or not seen.exists()):
                    append_checkpoint(seen, note)
            except Unavailable as error:
                if once:
                    raise
                console.print(f"{error}; looking again", highlight=False, markup=False, soft_wrap=True)
            else:
                metrics.VERIFICATION.set(report.verdict)
                metrics.VERIFICATION_TIME.set_to_current_time()
                if report.verdict is Verdict.TAMPERED and settings().metrics_port and not once:
                    stop.wait(_SEEN_S)
                if once or report.verdict is Verdict.TAMPERED:
                    answer(report, as_json)
                console.print(f"{report.verdict.name.lower()}: {report.anchor}", highlight=False, soft_wrap=True)
            if stop.wait(every_s):
                raise typer.Exit(stop.exit_code)


@contextmanager
def _proofs(settings: "Settings", api: bool) -> "Iterator[tuple[Callable[[], bytes], BringProof]]":
    """Yield what gives the newest checkpoint and what brings proofs: the API, or the file and the tables here."""
    if api:
        from procurator.verify.remote import RemoteLedger

        remote = RemoteLedger(settings)
        try:
            yield remote.checkpoint, remote.consistency
        finally:
            remote.close()
        return
    from procurator.clickhouse import ClickHouse
    from procurator.verify.given import read_notes
    from procurator.verify.seal import Sealer
    from procurator.verify.source import LedgerSource

    clickhouse = ClickHouse.of(settings)
    try:
        yield (lambda: read_notes([settings.checkpoints])[-1]), Sealer(LedgerSource(clickhouse)).consistency
    finally:
        clickhouse.close()


def answer(report: "Report", as_json: bool) -> None:
    """Print a report and exit with its verdict."""
    shown = report.to_json()
    if as_json:
        print(json.dumps(shown))
    else:
        _show(shown)
    raise typer.Exit(int(report.verdict))


def _show(report: dict[str, Any]) -> None:
    words = {"sound": "sound", "tampered": "TAMPERED", "cannot_tell": "cannot tell"}
    print(f"{words[report['verdict']]}: {report['anchor']}")
    for finding in report["findings"]:
        since = f" ({finding['since']})" if finding.get("since") else ""
        print(f"  {finding['verdict']} {finding['what']}: {finding['where']}: {finding['message']}{since}")
    if report["findings_total"] > len(report["findings"]):
        print(f"  … {report['findings_total'] - len(report['findings'])} more")
    for gap in report["completeness"]:
        print(f"  incomplete {gap['what']}: {gap['where']}: {gap['count']}")
    print("  " + ", ".join(f"{name} {count}" for name, count in sorted(report["counts"].items()) if count))


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    from rich.progress import Progress

    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total or None)
            bar.update(tasks[step], completed=done)

        yield report
