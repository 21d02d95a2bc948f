"""Budgets, counters and statuses as records of their topics: raw Avro (see `procurator.avro_schemas.codec`), and keys.

The definitions' key is the budget's id. The others have several parts, each with its length before it, so that no two
have one key.
"""

from struct import pack
from typing import Any

from procurator.avro_schemas.codec import from_decimal, to_decimal
from procurator.budgets.definition import Budget, Threshold, least
from procurator.budgets.spend import Counter, CounterKey
from procurator.budgets.status import BudgetStatus, Since, in_unit


def budget_to_record(budget: Budget) -> dict[str, Any]:
    """Return the raw record of budget_definition.avsc."""
    return {
        "budget_id": budget.budget_id,
        "version": budget.version,
        "org_id": budget.org_id,
        "name": budget.name,
        "scope": budget.scope,
        "scope_id": budget.scope_id,
        "unit": budget.unit,
        "limit": from_decimal(budget.limit),
        "period": budget.period,
        "time_zone": budget.time_zone,
        "thresholds": [{"fraction": from_decimal(t.fraction), "action": t.action} for t in budget.thresholds],
        "dry_run": budget.dry_run,
        "active": budget.active,
        "updated_by": budget.updated_by,
        "updated_at": budget.updated_at_us,
        "active_from": budget.updated_at_us,
    }


def budget_from_record(record: dict[str, Any]) -> Budget:
    """Return the budget in a raw record of budget_definition.avsc, which only `parse_budget` makes."""
    return Budget(
        budget_id=record["budget_id"],
        org_id=record["org_id"],
        name=record["name"],
        scope=record["scope"],
        scope_id=record["scope_id"],
        unit=record["unit"],
        limit=to_decimal(record["limit"]),
        period=record["period"],
        time_zone=record["time_zone"],
        thresholds=tuple(Threshold(to_decimal(t["fraction"]), t["action"]) for t in record["thresholds"]),
        dry_run=record["dry_run"],
        active=record["active"],
        version=record["version"],
        updated_by=record["updated_by"],
        updated_at_us=record["updated_at"],
    )


def counter_to_record(counter: Counter) -> dict[str, Any]:
    """Return the raw record of budget_spend.avsc."""
    return {
        "budget_id": counter.key.budget_id,
        "org_id": counter.org_id,
        "period_start": counter.key.period_start_us,
        "log_id": counter.key.log_id,
        "from_offset": counter.from_offset,
        "as_of_offset": counter.as_of_offset,
        "spent_usd": _money(counter.spent_attousd),
        "spent_tokens": counter.spent_tokens,
        "unpriced_tokens": counter.unpriced_tokens,
        "reserved_usd": _money(counter.reserved_attousd),
        "reserved_tokens": counter.reserved_tokens,
    }


def counter_from_record(record: dict[str, Any]) -> Counter:
    """Return the counter in a raw record of budget_spend.avsc."""
    return Counter(
        key=CounterKey(record["budget_id"], record["period_start"], record["log_id"]),
        org_id=record["org_id"],
        from_offset=record["from_offset"],
        as_of_offset=record["as_of_offset"],
        spent_attousd=int.from_bytes(record["spent_usd"], "big", signed=True),
        spent_tokens=record["spent_tokens"],
        unpriced_tokens=record["unpriced_tokens"],
        reserved_attousd=int.from_bytes(record["reserved_usd"], "big", signed=True),
        reserved_tokens=record["reserved_tokens"],
    )


def status_to_record(status: BudgetStatus) -> dict[str, Any]:
    """Return the raw record of budget_status.avsc."""
    budget, spend = status.budget, status.spend
    return {
        "budget_id": budget.budget_id,
        "org_id": budget.org_id,
        "session_id": status.session_id,
        "definition_version": budget.version,
        "period_start": status.period.start_us,
        "period_end": status.period.end_us,
        "unit": budget.unit,
        "limit": from_decimal(budget.limit),
        "spent": from_decimal(in_unit(budget, spend.spent(budget.unit))),
        "reserved": from_decimal(in_unit(budget, spend.reserved(budget.unit))),
        "unpriced_tokens": spend.unpriced_tokens,
        "crossed": [
            {
                "fraction": from_decimal(crossing.fraction),
                "action": crossing.action,
                "crossed_at": crossing.crossed_at_us,
                "dry_run": crossing.dry_run,
            }
            for crossing in status.crossed
        ],
        "exhausted": status.exhausted,
        "updated_at": status.updated_at_us,
        "positions": dict(status.positions),
    }


def since_in_record(record: dict[str, Any]) -> Since:
    """Return since when thresholds are crossed, from a raw record of budget_status.avsc."""
    limit = to_decimal(record["limit"])
    return {
        (crossing["action"], least(record["unit"], limit, to_decimal(crossing["fraction"])), crossing["dry_run"]): (
            crossing["crossed_at"]
        )
        for crossing in record["crossed"]
    }


def counter_key(key: CounterKey) -> bytes:
    """Return the key of a counter's record."""
    return _joined(key.budget_id, str(key.period_start_us), key.log_id)


def status_key(budget_id: str, period_start_us: int, session_id: str | None = None) -> bytes:
    """Return the key of a status's record."""
    return _joined(budget_id, str(period_start_us), *((session_id,) if session_id else ()))


def _joined(*parts: str) -> bytes:
    return b"".join(pack(">I", len(part)) + part for part in (text.encode() for text in parts))


def _money(attousd: int) -> bytes:
    return attousd.to_bytes((attousd.bit_length() + 8) // 8, "big", signed=True)
