"""What was spent, as the API shows it."""

from pydantic import Field

from procurator.query_api.models.common import Model, Tokens, Usd


class Spent(Tokens):
    """Sums over model calls that count."""

    model_calls: int = Field(examples=[42])
    cost_usd: Usd | None
    """Sum over the calls that have a price, exactly; null when none has one."""
    estimated_cost_usd: Usd | None
    """The part of it that rests on estimates."""
    estimated_calls: int
    unpriced_calls: int
    """Calls without a price: what they cost is unknown, not zero, and not in `cost_usd`."""
    unpriced_tokens: int
    reported_cost_usd: Usd | None
    """What runtimes reported, where they did."""


class SpendGroup(Spent):
    """What one group spent."""

    group: dict[str, str | None] = Field(examples=[{"owner_team": "payments", "day": "2026-11-22"}])
    """Value of each thing grouped by; null where a call has none."""


class PurgedSpend(Model):
    """What sessions had cost that retention has removed, from the signed purges."""

    included: bool
    """Whether it is part of the items and the total. If not, the filter or a group asks for what purges do not keep."""
    model_calls: int
    cost_usd: Usd


class SpendReport(Model):
    """Spend by group. Groups do not overlap: their sums are the total."""

    group_by: list[str] = Field(examples=[["owner_team", "day"]])
    items: list[SpendGroup]
    total: Spent
    purged: PurgedSpend
