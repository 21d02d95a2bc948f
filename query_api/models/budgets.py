"""Budgets as the API takes and shows them."""

from decimal import Decimal
from typing import Any

from pydantic import ConfigDict, Field

from procurator.avro_schemas.codec import to_decimal
from procurator.budgets import Budget
from procurator.clock import now_us, to_rfc3339
from procurator.query_api.models.common import Model, Time, UuidText


class ThresholdModel(Model):
    """A fraction of the limit, and what happens there."""

    fraction: str = Field(examples=["0.8"])
    """Fraction of the limit as decimal text; ascending."""
    action: str = Field(examples=["NOTIFY"])
    """NOTIFY, REQUIRE_APPROVAL (pause) or TERMINATE."""


class BudgetBody(Model):
    """A definition as it is sent. What is wrong is told field by field, with an example."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    name: Any = Field(None, examples=["Billing agent, daily"])
    """Name for people."""
    scope: Any = Field(None, examples=["AGENT"])
    """AGENT, TEAM, ORGANISATION, or SESSION for each single session of an agent."""
    scope_id: Any = Field(None, examples=["billing"])
    """Agent, owner team or organisation; may be left out for an organisation."""
    unit: Any = Field(None, examples=["USD"])
    """USD (default) or TOKENS; tokens count whether a model has a price or not."""
    limit: Any = Field(None, examples=["100.00"])
    """Limit as decimal text."""
    period: Any = Field(None, examples=["DAY"])
    """DAY, WEEK, MONTH or LIFETIME."""
    time_zone: Any = Field(None, examples=["Europe/Zurich"])
    """IANA time zone in which periods begin; UTC if left out."""
    thresholds: Any = Field(None, examples=[[{"fraction": "0.8", "action": "NOTIFY"}]])
    """What happens at which fraction of the limit."""
    dry_run: Any = Field(None, examples=[False])
    """True to show only what would happen."""
    active: Any = Field(None, examples=[True])
    """False to switch the budget off."""
    org_id: Any = Field(None, examples=["acme"])
    """Organisation; only the operator of the installation says it, others define budgets of their own."""


class CrossingModel(ThresholdModel):
    """A threshold that is crossed."""

    crossed_at: Time
    dry_run: bool


class BudgetStatusModel(Model):
    """What was spent in one period, against the limit."""

    definition_version: int
    session_id: UuidText | None = None
    """Session whose spend this is; with scope SESSION."""
    period_start: Time | None
    """Null for LIFETIME."""
    period_end: Time | None
    limit: str = Field(examples=["100"])
    spent: str = Field(examples=["12.345"])
    """Spent so far, in the unit."""
    reserved: str = Field(examples=["0.5"])
    """What calls that have started may come to spend."""
    unpriced_tokens: int
    crossed: list[CrossingModel]
    exhausted: bool
    """True when new sessions are refused."""
    updated_at: Time


class BudgetModel(Model):
    """A budget: its definition, and how it stands in its current period."""

    budget_id: UuidText
    version: int
    org_id: str
    name: str
    scope: str
    scope_id: str
    unit: str
    limit: str
    period: str
    time_zone: str
    thresholds: list[ThresholdModel]
    dry_run: bool
    active: bool
    updated_by: str
    updated_at: Time
    status: BudgetStatusModel


class BudgetDetail(BudgetModel):
    """A budget with the history of its statuses."""

    history: list[BudgetStatusModel]
    """Newest first: about one a minute, and one at each crossing."""


def budget_json(budget: Budget, record: dict[str, Any] | None) -> dict[str, Any]:
    """Return a budget and its status, as JSON values; without a status of the current period nothing was spent."""
    return {
        "budget_id": budget.budget_id,
        "version": budget.version,
        "org_id": budget.org_id,
        "name": budget.name,
        "scope": budget.scope,
        "scope_id": budget.scope_id,
        "unit": budget.unit,
        "limit": text(budget.limit),
        "period": budget.period,
        "time_zone": budget.time_zone,
        "thresholds": [{"fraction": text(t.fraction), "action": t.action} for t in budget.thresholds],
        "dry_run": budget.dry_run,
        "active": budget.active,
        "updated_by": budget.updated_by,
        "updated_at": to_rfc3339(budget.updated_at_us),
        "status": _status(budget, record),
    }


def _status(budget: Budget, record: dict[str, Any] | None) -> dict[str, Any]:
    period = budget.periods.at(now_us())
    if record is None or record["period_start"] != period.start_us:
        record = {
            "definition_version": budget.version,
            "period_start": period.start_us,
            "period_end": period.end_us,
            "spent": b"",
            "reserved": b"",
            "unpriced_tokens": 0,
            "crossed": [],
            "exhausted": False,
            "updated_at": budget.updated_at_us,
        }
    return {
        "definition_version": record["definition_version"],
        "period_start": to_rfc3339(record["period_start"]) if record["period_end"] is not None else None,
        "period_end": None if record["period_end"] is None else to_rfc3339(record["period_end"]),
        "limit": text(budget.limit),
        "spent": text(to_decimal(record["spent"])),
        "reserved": text(to_decimal(record["reserved"])),
        "unpriced_tokens": record["unpriced_tokens"],
        "crossed": [
            {
                "fraction": text(to_decimal(crossing["fraction"])),
                "action": crossing["action"],
                "crossed_at": to_rfc3339(crossing["crossed_at"]),
                "dry_run": crossing["dry_run"],
            }
            for crossing in record["crossed"]
        ],
        "exhausted": record["exhausted"],
        "updated_at": to_rfc3339(record["updated_at"]),
    }


def text(value: Decimal) -> str:
    """Return a decimal without an exponent or trailing zeros."""
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
