"""``procurator webhooks``: who gets ledger entries; the API keeps it, ``procurator forward`` delivers."""

import json
import time
from datetime import datetime
from typing import Annotated, Any

import typer

from procurator.cli import EXIT_CANNOT_TELL, EXIT_NO, console

webhooks_app = typer.Typer(no_args_is_help=True, help="Who gets ledger entries, signed, as they come.")

Id = Annotated[str, typer.Argument(help="The webhook's id, as `list` shows it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_TEST_S = 30.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(webhooks_app, name="webhooks")


@webhooks_app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    url: Annotated[str, typer.Argument(help="Address that batches are posted to (https).")],
    form: Annotated[str, typer.Option("--format", help="JSON, OCSF or SPLUNK_HEC.")] = "JSON",
    kind: Annotated[list[str] | None, typer.Option(help="A kind of entry; may be repeated.")] = None,
    team: Annotated[list[str] | None, typer.Option(help="An owner team; may be repeated.")] = None,
    agent: Annotated[list[str] | None, typer.Option(help="An agent; may be repeated.")] = None,
    token: Annotated[str | None, typer.Option(help="The token of the HTTP Event Collector.")] = None,
    org: Annotated[str | None, typer.Option(help="Its organisation; needed with the admin key.")] = None,
    every_organisation: Annotated[bool, typer.Option("--every-organisation", help="An operator's webhook.")] = False,
    as_json: Json = False,
) -> None:
    """Make a webhook and print its signing secret, this once."""
    body = {
        "name": name,
        "url": url,
        "format": form,
        "token": token,
        "org_id": org,
        "owner_team_ids": team or [],
        "agent_ids": agent or [],
        "every_organisation": every_organisation,
        **({"kinds": kind} if kind else {}),
    }
    made = _call("POST", "", body)
    print(json.dumps(made, indent=2) if as_json else made["secret"])
    _say(f"webhook {made['endpoint_id']} gets what comes from now on; its secret cannot be shown again")


@webhooks_app.command(name="list")
def list_webhooks(as_json: Json = False) -> None:
    """List the webhooks and how far each is; never a secret."""
    items = _call("GET", "")["items"]
    if as_json:
        print(json.dumps(items, indent=2))
    else:
        _print_table(items)


@webhooks_app.command()
def rotate(
    endpoint_id: Id,
    overlap_s: Annotated[int, typer.Option(help="So many seconds the old secret signs as well.")] = 86_400,
) -> None:
    """Sign with a new secret and print it, this once."""
    print(_call("POST", f"/{endpoint_id}/rotate", {"overlap_s": overlap_s})["secret"])
    _say(f"webhook {endpoint_id} signs with both secrets for {overlap_s:,} s")


@webhooks_app.command()
def test(endpoint_id: Id) -> None:
    """Send a test delivery and say how it went; exit 1 when the receiver did not take it."""
    asked = _call("POST", f"/{endpoint_id}/test")
    # A forwarder that was quicker than the answer has done it already.
    waiting = [each for each in asked["pending"] if each["kind"] == "TEST"] or [asked["last_test"]]
    request_id = waiting[0]["request_id"]
    until_s = time.monotonic() + _TEST_S
    while (found := _call("GET", f"/{endpoint_id}")["last_test"] or {}).get("request_id") != request_id:
        if time.monotonic() > until_s:
            _say("no result yet: is `procurator forward` running? `list` shows it later")
            raise typer.Exit(EXIT_CANNOT_TELL)
        time.sleep(0.2)
    answer = found["message"] if found["status"] is None else f"{found['status']} in {found['latency_ms']:.0f} ms"
    print(f"{'taken' if found['succeeded'] else 'not taken'}: {answer}")
    raise typer.Exit(0 if found["succeeded"] else EXIT_NO)


@webhooks_app.command()
def replay(
    endpoint_id: Id, sequence: Annotated[int | None, typer.Option(help="One dead letter's first number.")] = None
) -> None:
    """Deliver dead letters again, with the numbers they had."""
    _call("POST", f"/{endpoint_id}/replay", {"sequence": sequence})
    _say("asked for; what is taken is no dead letter any more")


@webhooks_app.command()
def backfill(
    endpoint_id: Id,
    since: Annotated[datetime | None, typer.Option("--from", help="Broker time, UTC.")] = None,
    log: Annotated[str | None, typer.Option(help="A log, with --offset.")] = None,
    offset: Annotated[int | None, typer.Option(help="The first offset to deliver again.")] = None,
) -> None:
    """Deliver everything from a time, or from a place in one log on, again under new numbers."""
    from_time = None if since is None else f"{since.isoformat()}Z"
    _call("POST", f"/{endpoint_id}/backfill", {"from_time": from_time, "log_id": log, "offset": offset})
    _say("asked for")


@webhooks_app.command()
def delete(endpoint_id: Id) -> None:
    """Delete a webhook for good, with its position and its dead letters."""
    _call("DELETE", f"/{endpoint_id}")
    _say(f"webhook {endpoint_id} is deleted")


def _call(method: str, path: str, body: Any = None) -> Any:
    from procurator.api_client import call
    from procurator.config import settings

    return call(settings(), method, f"/v1/webhooks{path}", body)


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_table(items: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        "webhook", "name", "organisation", "url", "format", "status", "delivered", "dead letters", "last error"
    )
    for item in items:
        numbers = f"{item['delivered']:,}", f"{item['dead_letters']:,}"
        texts = (item["endpoint_id"], item["name"], item["org_id"] or "every", item["url"], item["format"])
        table.add_row(*map(escape, (*texts, item["status"], *numbers, item["last_error"] or "")))
    Console().print(table)
