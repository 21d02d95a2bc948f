"""``procurator import``: publish recorded sessions as events."""

import json
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from procurator.cli import EXIT_CANNOT_TELL, console


class FormatName(StrEnum):
    AUTO = "auto"
    TAU_BENCH = "tau-bench"
    SWE_AGENT = "swe-agent"
    OPENAI_CHAT = "openai-chat"


def register(app: typer.Typer) -> None:
    app.command(name="import", help="Publish recorded sessions as events.")(import_)


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="recordings, JSON or JSON lines, maybe gzipped")],
    format_name: Annotated[FormatName, typer.Option("--format", help="auto asks the content")] = FormatName.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON line a session")] = False,
    org: Annotated[str | None, typer.Option(help="organisation (PROCURATOR_ORG_ID)", show_default=False)] = None,
    team: Annotated[str | None, typer.Option(help="owner team (PROCURATOR_OWNER_TEAM_ID)", show_default=False)] = None,
    agent: Annotated[str | None, typer.Option(help="agent; default: the format's name", show_default=False)] = None,
    user: Annotated[
        str | None, typer.Option(help="user; default: the one that the recording names", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help="model that was used, for the price", show_default=False)] = None,
    provider: Annotated[str | None, typer.Option(help="provider of that model", show_default=False)] = None,
) -> None:
    """Publish every session in the files; done when Kafka has confirmed every event.

    Importing a file again adds nothing that counts. What cannot be read is one line on standard error, and exit code 2;
    everything else is imported.
    """
    import os

    from rich.progress import Progress, SpinnerColumn, TextColumn

    from procurator.producers import Procurator
    from procurator.producers.defaults import Defaults
    from procurator.producers.importers import ImportFailed, ImportOptions
    from procurator.producers.importers.publishing import publish_file

    defaults = Defaults.from_environment(os.environ)
    options = ImportOptions(org or defaults.org_id, team or defaults.owner_team_id, agent, user, model, provider)
    failed = False
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed} events"))
    with (
        Procurator(on_full="block") as procurator,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        procurator.connect()
        for path in files:
            task = progress.add_task(path.name)
            estimated: set[str] = set()
            sessions = events = 0
            for found in publish_file(procurator, path, format_name, options, partial(progress.advance, task)):
                if isinstance(found, ImportFailed):
                    failed = True
                    console.print(f"procurator: {found}", style="red", markup=False, highlight=False, soft_wrap=True)
                    continue
                sessions, events = sessions + 1, events + found.events
                estimated.update(found.estimated)
                if as_json:
                    print(json.dumps(asdict(found)), flush=True)
            progress.remove_task(task)
            if not as_json:
                guessed = f"; estimated: {', '.join(sorted(estimated))}" if estimated else ""
                print(f"{path}: {sessions} session(s), {events} events in the ledger's topic{guessed}")
    if failed:
        raise typer.Exit(EXIT_CANNOT_TELL)
