"""``procurator terminate ID``: stop a running session."""

import json
from typing import Annotated
from uuid import UUID

import typer


def register(app: typer.Typer) -> None:
    app.command(name="terminate", help="Stop a running session; every runtime that holds it is told.")(terminate)


def terminate(
    session_id: Annotated[UUID, typer.Argument(metavar="ID", help="the session")],
    reason: Annotated[str, typer.Option(help="why, for people")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print the signal as one JSON object")] = False,
) -> None:
    """Ask the API to terminate the session; asked again, it is the same signal."""
    from procurator.api_client import call
    from procurator.config import settings

    signal = call(settings(), "POST", f"/v1/sessions/{session_id}/terminate", {"reason": reason})
    if as_json:
        print(json.dumps(signal))
    else:
        print(f"session {session_id} is told to end: signal {signal['signal_id']}, grace {signal['grace_s']} s")
