"""``procurator budgets``: define, list, show and delete budgets, through the API."""

import json
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from procurator.errors import UserError

Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Id = Annotated[UUID, typer.Argument(metavar="ID", help="the budget")]

#: What `set` changes of a budget that there is, by the name of its field.
_FIELDS = ("name", "scope", "scope_id", "unit", "limit", "period", "time_zone", "thresholds", "dry_run", "active")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Limits on what agents, teams, organisations and single sessions may spend.")
    group.command(name="set")(set_budget)
    group.command(name="list")(list_budgets)
    group.command(name="show")(show)
    group.command(name="delete")(delete)
    app.add_typer(group, name="budgets", no_args_is_help=True)


def set_budget(
    budget_id: Annotated[UUID | None, typer.Option("--id", help="change this budget; without it, define one")] = None,
    name: Annotated[str | None, typer.Option(help="name for people")] = None,
    scope: Annotated[str | None, typer.Option(help="AGENT, TEAM, ORGANISATION, or SESSION (each of an agent)")] = None,
    scope_id: Annotated[str | None, typer.Option(help="the agent, team or organisation")] = None,
    limit: Annotated[str | None, typer.Option(help='the limit, for example "100.00"')] = None,
    unit: Annotated[str | None, typer.Option(help="USD or TOKENS")] = None,
    period: Annotated[str | None, typer.Option(help="DAY, WEEK, MONTH or LIFETIME")] = None,
    time_zone: Annotated[str | None, typer.Option(help='where periods begin, for example "Europe/Zurich"')] = None,
    threshold: Annotated[
        list[str] | None, typer.Option(help="FRACTION=ACTION, for example 0.8=NOTIFY; ascending; may be repeated")
    ] = None,
    dry_run: Annotated[bool | None, typer.Option("--dry-run/--enforce", help="only show what would happen")] = None,
    active: Annotated[bool | None, typer.Option("--on/--off", help="switch the budget on or off")] = None,
    org_id: Annotated[str | None, typer.Option("--org", help="organisation; needed with the admin key")] = None,
    as_json: Json = False,
) -> None:
    """Define a budget, or change the fields that are given of one."""
    given = {
        "name": name,
        "scope": scope,
        "scope_id": scope_id,
        "limit": limit,
        "unit": unit,
        "period": period,
        "time_zone": time_zone,
        "thresholds": [_threshold(text) for text in threshold] if threshold else None,
        "dry_run": dry_run,
        "active": active,
    }
    document = {field: value for field, value in given.items() if value is not None}
    if budget_id is None:
        document.setdefault("thresholds", [_threshold("0.8=NOTIFY"), _threshold("1=TERMINATE")])
        document.setdefault("name", scope_id or org_id or "")
        budget = _call("POST", "/v1/budgets", document | ({} if org_id is None else {"org_id": org_id}))
    else:
        before = _call("GET", f"/v1/budgets/{budget_id}")
        budget = _call("PUT", f"/v1/budgets/{budget_id}", {field: before[field] for field in _FIELDS} | document)
    _print([budget], budget if as_json else None)


def list_budgets(as_json: Json = False) -> None:
    """List budgets, each with what was spent in its current period."""
    budgets = _call("GET", "/v1/budgets")["items"]
    _print(budgets, budgets if as_json else None)


def show(budget_id: Id, as_json: Json = False) -> None:
    """Show a budget, its status and its history."""
    budget = _call("GET", f"/v1/budgets/{budget_id}")
    _print([budget], budget if as_json else None)
    if as_json:
        return
    table = Table("updated", "spent", "reserved", "limit", "crossed")
    for status in budget["history"]:
        table.add_row(status["updated_at"], status["spent"], status["reserved"], status["limit"], _crossed(status))
    Console().print(table)


def delete(budget_id: Id) -> None:
    """Delete a budget for good; its history stays."""
    _call("DELETE", f"/v1/budgets/{budget_id}")
    print(f"budget {budget_id} is deleted")


def _call(method: str, path: str, body: Any = None) -> Any:
    from procurator.api_client import call
    from procurator.config import settings

    return call(settings(), method, path, body)


def _threshold(text: str) -> dict[str, str]:
    fraction, separator, action = text.partition("=")
    if not separator:
        raise UserError(f"--threshold {text!r}: say FRACTION=ACTION, for example 0.8=NOTIFY")
    return {"fraction": fraction.strip(), "action": action.strip().upper()}


def _print(budgets: list[dict[str, Any]], as_json: Any) -> None:
    if as_json is not None:
        print(json.dumps(as_json))
        return
    table = Table("budget", "name", "whose", "spent", "limit", "period", "crossed")
    for budget in budgets:
        status = budget["status"]
        limit = f"{budget['limit']} {budget['unit']}"
        whose = f"{budget['scope']} {budget['scope_id']}"
        name = (
            escape(budget["name"])
            + (" (dry run)" if budget["dry_run"] else "")
            + ("" if budget["active"] else " (off)")
        )
        table.add_row(
            budget["budget_id"], name, escape(whose), status["spent"], limit, budget["period"], _crossed(status)
        )
    Console().print(table)


def _crossed(status: dict[str, Any]) -> str:
    return ", ".join(f"{crossing['fraction']} {crossing['action']}" for crossing in status["crossed"])
