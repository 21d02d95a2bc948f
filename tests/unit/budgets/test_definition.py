"""`procurator.budgets.definition`: what a definition may say, and the one line that says what is wrong with it."""

from decimal import Decimal
from typing import Any

import pytest

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.budgets import Budget, BudgetError, parse_budget
from procurator.budgets.definition import revised
from procurator.budgets.records import budget_from_record, budget_to_record

SCHEMA = load_schema("budget_definition")
DAILY: dict[str, Any] = {
    "name": "Billing, daily",
    "scope": "AGENT",
    "scope_id": "billing",
    "limit": "10.00",
    "period": "DAY",
    "time_zone": "Europe/Zurich",
    "thresholds": [{"fraction": "0.8", "action": "NOTIFY"}, {"fraction": "1", "action": "TERMINATE"}],
}


def parse(**changes: Any) -> Budget:
    document = {name: value for name, value in {**DAILY, **changes}.items() if value is not ...}
    return parse_budget(document, budget_id="b1", org_id="acme", version=1, updated_by="key:admin", now_us=5)


def test_a_definition_survives_its_record() -> None:
    budget = parse(dry_run=True)
    record = Decoder(SCHEMA, lambda _: SCHEMA.text).decode(SCHEMA.encode(budget_to_record(budget), 1))
    assert budget_from_record(record) == budget


@pytest.mark.parametrize(
    ("changes", "amounts"),
    [
        ({}, (8 * 10**18, 10 * 10**18)),
        ({"unit": "TOKENS", "limit": 1001}, (801, 1001)),
        ({"limit": "0"}, (0, 0)),
        ({"limit": "0.000000000000000001"}, (1, 1)),
    ],
)
def test_amounts_are_the_least_spend_that_reaches_the_fraction(
    changes: dict[str, Any], amounts: tuple[int, int]
) -> None:
    assert parse(**changes).amounts == amounts


def test_defaults() -> None:
    organisation = parse(scope="organisation", scope_id=..., time_zone=...)
    assert (organisation.scope_id, organisation.unit, organisation.time_zone) == ("acme", "USD", "UTC")
    assert parse(scope="SESSION", period=...).period == "LIFETIME"
    assert organisation.enforced
    assert not parse(dry_run=True).enforced
    assert not parse(active=False).enforced


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": "-1"}, 'limit: -1 is negative; for example "100.00" (USD)'),
        ({"limit": "ten"}, "limit: 'ten' is no decimal number; for example \"100.00\""),
        ({"limit": 0.1}, 'limit: 0.1 is no decimal number as text; for example "100.00"'),
        ({"limit": ...}, 'limit: None is no decimal number as text; for example "100.00"'),
        ({"limit": "NaN"}, "limit: 'NaN' is not finite; for example \"100.00\""),
        ({"limit": "1e999"}, 'limit: 1E+999 is beyond what can be counted; for example "100.00" (USD)'),
        ({"limit": "1e-19"}, 'limit: 1e-19 has more than 18 decimal places; for example "100.00"'),
        ({"limit": "1.5", "unit": "TOKENS"}, 'limit: 1.5 is no whole number of tokens; for example "2000000"'),
        (
            {"scope": "FLEET"},
            "scope: 'FLEET' is unknown: it is one of AGENT, TEAM, ORGANISATION, SESSION; for example \"AGENT\"",
        ),
        ({"scope": ...}, 'scope: is missing: it is one of AGENT, TEAM, ORGANISATION, SESSION; for example "AGENT"'),
        ({"scope_id": ""}, 'scope_id: must be text; for example "billing"'),
        (
            {"scope": "ORGANISATION", "scope_id": "other"},
            "scope_id: 'other' is another organisation; leave it out, or say 'acme'",
        ),
        ({"scope": "SESSION"}, "period: DAY makes no sense for single sessions: leave it out, or say LIFETIME"),
        ({"period": "YEAR"}, "period: 'YEAR' is unknown: it is one of DAY, WEEK, MONTH, LIFETIME; for example \"DAY\""),
        (
            {"time_zone": "Mars/Olympus"},
            "time_zone: 'Mars/Olympus' is no IANA time zone; for example \"Europe/Zurich\"",
        ),
        ({"time_zone": "../../etc/passwd"}, "time_zone: '../../etc/passwd' is no IANA time zone; for example"),
        ({"thresholds": []}, "thresholds: must be a list of at least one; for example"),
        ({"thresholds": "all"}, "thresholds: must be a list of at least one; for example"),
        ({"thresholds": ["0.8"]}, "thresholds[0]: must have fraction and action; for example"),
        (
            {"thresholds": [{"fraction": "0.5", "action": "NOTIFY"}, {"fraction": "0.50", "action": "TERMINATE"}]},
            "thresholds[1].fraction: 0.50 overlaps the threshold before it; for example",
        ),
        (
            {"thresholds": [{"fraction": "1", "action": "NOTIFY"}, {"fraction": "0.5", "action": "TERMINATE"}]},
            "thresholds[1].fraction: 0.5 stands after 1: put them in ascending order; for example",
        ),
        (
            {"thresholds": [{"fraction": "0", "action": "NOTIFY"}]},
            'thresholds[0].fraction: 0 is not above 0 and at most 10; for example "0.8"',
        ),
        (
            {"thresholds": [{"fraction": "1", "action": "STOP"}]},
            "thresholds[0].action: 'STOP' is unknown: it is one of",
        ),
        ({"dry_run": "yes"}, "dry_run: 'yes' is neither true nor false; for example false"),
        ({"limits": "1"}, "limits: is no field of a budget; there are active, dry_run, limit,"),
        ({"name": "x" * 257}, "name: 257 characters are more than 256"),
    ],
)
def test_what_cannot_be_used_is_named_with_an_example(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BudgetError) as caught:
        parse(**changes)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_revision_counts_the_same() -> None:
    budget = parse()
    raised = revised(budget, {**DAILY, "limit": "20"}, updated_by="ann", now_us=9)
    assert (raised.limit, raised.version, raised.updated_by) == (Decimal(20), 2, "ann")
    with pytest.raises(BudgetError, match=r"^time_zone: is 'Europe/Zurich' for good, not 'UTC'"):
        revised(budget, {**DAILY, "time_zone": "UTC"}, updated_by="ann", now_us=9)
