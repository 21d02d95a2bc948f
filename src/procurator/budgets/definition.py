"""A budget as configured, and what a definition must keep. Parsed once, at the edge: by the API and from the topic.

What is counted (scope, whose, period, time zone) never changes under one id: spend already counted would mean
something else. Limit, thresholds and switches may change at any time and apply to what is running.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from itertools import pairwise
from math import ceil
from typing import Any

from procurator.budgets.periods import PERIODS, PeriodFinder, known_time_zone
from procurator.errors import UserError
from procurator.pricing import EXACT

AGENT = "AGENT"
TEAM = "TEAM"
ORGANISATION = "ORGANISATION"
SESSION = "SESSION"
SCOPES = (AGENT, TEAM, ORGANISATION, SESSION)

USD = "USD"
TOKENS = "TOKENS"
UNITS = (USD, TOKENS)

NOTIFY = "NOTIFY"
REQUIRE_APPROVAL = "REQUIRE_APPROVAL"
TERMINATE = "TERMINATE"
#: By severity, mildest first.
ACTIONS = (NOTIFY, REQUIRE_APPROVAL, TERMINATE)

#: Units of 10^-18 in one: amounts of money are integers of 10^-18 USD, amounts of tokens are tokens.
_SCALE = {USD: 18, TOKENS: 0}
_LIMIT_MAX = {USD: Decimal(10) ** 20, TOKENS: Decimal(2**63)}
#: A definition holds so long after Kafka has it: by then every stream processor knows it. Whoever defines waits for it.
NOTICE_S = 0.25
_FRACTION_MAX = 10
_THRESHOLDS_MAX = 16
_TEXT_CHARS_MAX = 256
#: Fields that say what is counted.
COUNTED_BY = ("org_id", "scope", "scope_id", "period", "time_zone")


class BudgetError(UserError):
    """A definition cannot be used; ``field`` names where, the message shows what would do."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


@dataclass(frozen=True)
class Threshold:
    """At this fraction of the limit, this happens."""

    fraction: Decimal
    action: str


@dataclass(frozen=True)
class Budget:
    """One version of a definition; fields are those of budget_definition.avsc, times in µs since the epoch."""

    budget_id: str
    org_id: str
    name: str
    scope: str
    scope_id: str
    unit: str
    limit: Decimal
    period: str
    time_zone: str
    thresholds: tuple[Threshold, ...]
    dry_run: bool = False
    active: bool = True
    version: int = 1
    updated_by: str = ""
    updated_at_us: int = 0

    @property
    def enforced(self) -> bool:
        """Whether crossings act on sessions, rather than being shown alone."""
        return self.active and not self.dry_run

    @cached_property
    def amounts(self) -> tuple[int, ...]:
        """The least spend at which each threshold is crossed: 10^-18 USD, or tokens."""
        return tuple(least(self.unit, self.limit, threshold.fraction) for threshold in self.thresholds)

    @cached_property
    def periods(self) -> PeriodFinder:
        return PeriodFinder(self.period, self.time_zone)

    def counts_like(self, other: "Budget") -> bool:
        """Tell whether both count the same spend over the same periods."""
        return all(getattr(self, name) == getattr(other, name) for name in COUNTED_BY)


def least(unit: str, limit: Decimal, fraction: Decimal) -> int:
    """Return the least spend that is at or above ``fraction`` of ``limit``: 10^-18 USD, or tokens."""
    return ceil(EXACT.multiply(limit, fraction).scaleb(_SCALE[unit], EXACT))


def parse_budget(
    document: Mapping[str, Any], *, budget_id: str, org_id: str, version: int, updated_by: str, now_us: int
) -> Budget:
    """Return the budget that ``document`` (of JSON: names as in budget_definition.avsc) defines for ``org_id``.

    Raises BudgetError for the first field that cannot be used.
    """
    allowed = {"name", "scope", "scope_id", "unit", "limit", "period", "time_zone", "thresholds", "dry_run", "active"}
    if unknown := sorted(document.keys() - allowed):
        raise BudgetError(str(unknown[0]), f"is no field of a budget; there are {', '.join(sorted(allowed))}")
    scope = _one_of(document, "scope", SCOPES)
    scope_id = (
        org_id if scope == ORGANISATION and "scope_id" not in document else _text(document, "scope_id", "billing")
    )
    if scope == ORGANISATION and scope_id != org_id:
        raise BudgetError("scope_id", f"{scope_id!r} is another organisation; leave it out, or say {org_id!r}")
    unit = _one_of(document, "unit", UNITS, default=USD)
    period = _one_of(document, "period", PERIODS, default="LIFETIME" if scope == SESSION else None)
    if scope == SESSION and period != "LIFETIME":
        raise BudgetError("period", f"{period} makes no sense for single sessions: leave it out, or say LIFETIME")
    return Budget(
        budget_id=budget_id,
        org_id=org_id,
        name=_text(document, "name", "Billing agent, daily"),
        scope=scope,
        scope_id=scope_id,
        unit=unit,
        limit=_limit(document, unit),
        period=period,
        time_zone=_time_zone(document),
        thresholds=_thresholds(document),
        dry_run=_switch(document, "dry_run", default=False),
        active=_switch(document, "active", default=True),
        version=version,
        updated_by=updated_by,
        updated_at_us=now_us,
    )


def revised(budget: Budget, document: Mapping[str, Any], *, updated_by: str, now_us: int) -> Budget:
    """Return the next version of ``budget``. Raises BudgetError also when it would count something else."""
    following = parse_budget(
        document,
        budget_id=budget.budget_id,
        org_id=budget.org_id,
        version=budget.version + 1,
        updated_by=updated_by,
        now_us=now_us,
    )
    for field in COUNTED_BY:
        if (old := getattr(budget, field)) != (new := getattr(following, field)):
            raise BudgetError(
                field, f"is {old!r} for good, not {new!r}: what is counted cannot change; make a new budget"
            )
    return following


def _limit(document: Mapping[str, Any], unit: str) -> Decimal:
    example = '"100.00"' if unit == USD else '"2000000"'
    limit = _decimal("limit", document.get("limit"), example)
    if limit < 0:
        raise BudgetError("limit", f"{limit} is negative; for example {example} ({unit})")
    if limit >= _LIMIT_MAX[unit]:
        raise BudgetError("limit", f"{limit} is beyond what can be counted; for example {example} ({unit})")
    if unit == TOKENS and limit != int(limit):
        raise BudgetError("limit", f"{limit} is no whole number of tokens; for example {example}")
    return limit


def _thresholds(document: Mapping[str, Any]) -> tuple[Threshold, ...]:
    example = '[{"fraction": "0.8", "action": "NOTIFY"}, {"fraction": "1", "action": "TERMINATE"}]'
    given = document.get("thresholds")
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise BudgetError("thresholds", f"must be a list of at least one; for example {example}")
    if len(given) > _THRESHOLDS_MAX:
        raise BudgetError("thresholds", f"{len(given)} are more than {_THRESHOLDS_MAX}")
    thresholds = []
    for index, item in enumerate(given):
        place = f"thresholds[{index}]"
        if not isinstance(item, Mapping) or item.keys() != {"fraction", "action"}:
            raise BudgetError(
                place, 'must have fraction and action; for example {"fraction": "0.8", "action": "NOTIFY"}'
            )
        fraction = _decimal(f"{place}.fraction", item["fraction"], '"0.8"')
        if not 0 < fraction <= _FRACTION_MAX:
            raise BudgetError(
                f"{place}.fraction", f'{fraction} is not above 0 and at most {_FRACTION_MAX}; for example "0.8"'
            )
        thresholds.append(Threshold(fraction, _one_of(item, "action", ACTIONS, place=f"{place}.action")))
    for index, (low, high) in enumerate(pairwise(thresholds), 1):
        place = f"thresholds[{index}].fraction"
        if low.fraction == high.fraction:
            raise BudgetError(place, f"{high.fraction} overlaps the threshold before it; for example {example}")
        if low.fraction > high.fraction:
            raise BudgetError(
                place,
                f"{high.fraction} stands after {low.fraction}: put them in ascending order; for example {example}",
            )
    return tuple(thresholds)


def _time_zone(document: Mapping[str, Any]) -> str:
    name = document.get("time_zone", "UTC")
    if not isinstance(name, str) or not known_time_zone(name):
        raise BudgetError("time_zone", f'{name!r} is no IANA time zone; for example "Europe/Zurich"')
    return name


def _decimal(field: str, value: Any, example: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise BudgetError(field, f"{value!r} is no decimal number as text; for example {example}")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise BudgetError(field, f"{value!r} is no decimal number; for example {example}") from None
    if not number.is_finite():
        raise BudgetError(field, f"{value!r} is not finite; for example {example}")
    if number.adjusted() < 60 and number != number.quantize(Decimal("1e-18"), context=EXACT):
        raise BudgetError(field, f"{value} has more than 18 decimal places; for example {example}")
    return number


def _text(document: Mapping[str, Any], field: str, example: str) -> str:
    value = document.get(field)
    if not isinstance(value, str) or not value.strip():
        raise BudgetError(field, f'must be text; for example "{example}"')
    if len(value) > _TEXT_CHARS_MAX:
        raise BudgetError(field, f"{len(value)} characters are more than {_TEXT_CHARS_MAX}")
    return value


def _one_of(
    document: Mapping[str, Any], field: str, choices: Sequence[str], default: str | None = None, place: str = ""
) -> str:
    value = document.get(field, default)
    if isinstance(value, str) and value.upper() in choices:
        return value.upper()
    unknown = "is missing" if value is None else f"{value!r} is unknown"
    raise BudgetError(place or field, f'{unknown}: it is one of {", ".join(choices)}; for example "{choices[0]}"')


def _switch(document: Mapping[str, Any], field: str, *, default: bool) -> bool:
    value = document.get(field, default)
    if not isinstance(value, bool):
        raise BudgetError(field, f"{value!r} is neither true nor false; for example false")
    return value
