"""`procurator.price_corrections`: which calls are corrected, by how much, under which numbers."""

from decimal import Decimal
from typing import Any

import pytest

from procurator import events
from procurator.avro_schemas.codec import Decoder, load_schema, to_decimal
from procurator.budgets import Budget, Threshold
from procurator.budgets.charges import charges
from procurator.budgets.meter import Meter
from procurator.budgets.spend import Change
from procurator.errors import UserError
from procurator.price_corrections import Author, Charged, Correction, Revision, corrections
from procurator.price_overrides import parse
from procurator.pricing import PriceBook, Usage
from procurator.session_state import SessionState

DAY_US = 86_400_000_000
#: 2026-12-01.
FROM_US = 1_796_083_200_000_000
NOW_US = FROM_US + 9 * DAY_US
SESSION = "0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"
OTHER = "1f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"
EVENTS = load_schema("session_event")
DECODER = Decoder(EVENTS, lambda schema_id: EVENTS.text)
FILE = """
version = "2026-12"
[[price]]
provider = "openai"
model = "gpt-4o"
active_from = 2026-12-01T00:00:00Z
active_until = 2026-12-05T00:00:00Z
usd_per_million = { input = 2, output = 8 }
"""
BEFORE = (
    FILE.replace("2026-12-01", "2026-11-01").replace("2026-12-05", "2027-01-01").replace("output = 8", "output = 9")
)


def call(**changes: Any) -> Charged:
    fields: dict[str, Any] = {
        "session_id": SESSION,
        "offset": 7,
        "broker_time_us": FROM_US,
        "occurred_at_us": FROM_US - 1,
        "imported": False,
        "org_id": "acme",
        "agent_id": "billing",
        "owner_team_id": "payments",
        "model_call_id": "m1",
        "provider": "openai",
        "model": "gpt-4o",
        "turn_index": 3,
        "usage": Usage(output_tokens=1_000_000),
        "charged_usd": Decimal(9),
        "corrections": 0,
        **changes,
    }
    return Charged(**fields)


def corrected(*calls: Charged, now_us: int = NOW_US) -> list[Correction]:
    book = PriceBook.of(parse(BEFORE))
    author = Author("ann", "contract 4711", now_us, lambda: bytes(16))
    return list(corrections(calls, Revision.of(book, parse(FILE), now_us), author))


def test_the_difference_is_appended_for_calls_within_the_times_of_the_right_price() -> None:
    inside, last = call(), call(offset=8, broker_time_us=FROM_US + 4 * DAY_US - 1)
    before, after = call(broker_time_us=FROM_US - 1), call(broker_time_us=FROM_US + 4 * DAY_US)
    found = corrected(before, inside, last, after, call(model="gpt-4o-mini"), call(charged_usd=Decimal(8)))
    assert [(each.call, each.difference_usd) for each in found] == [(inside, Decimal(-1)), (last, Decimal(-1))]
    event = events.parse(DECODER, EVENTS.encode(dict(found[0].event), 1))
    kind, payload = event["payload"]
    assert (kind, payload["corrects_offset"], payload["charged_at"]) == (events.COST_CORRECTED, 7, FROM_US - 1)
    assert to_decimal(payload["difference_usd"]) == Decimal(-1)
    assert (payload["newly_priced_tokens"], payload["corrected_by"]) == (None, "ann")
    assert payload["price_version"].startswith("operator-2026-12+")


def test_numbers_go_on_from_what_a_session_has_and_are_the_same_when_repeated() -> None:
    calls = (call(corrections=2), call(offset=8, corrections=3), call(session_id=OTHER, offset=9))
    found = corrected(*calls)
    assert [(each.event["session_id"], each.event["sequence"]) for each in found] == [
        (SESSION, 2),
        (SESSION, 3),
        (OTHER, 0),
    ]
    again = corrected(*calls, now_us=NOW_US + 5)
    assert [each.event["event_id"] for each in again] == [each.event["event_id"] for each in found]
    assert len({each.event["event_id"] for each in found}) == 3


def test_a_call_without_a_price_gets_one_and_its_session_too() -> None:
    state = SessionState(
        SESSION, unpriced_calls=1, unpriced_tokens=1_000_000, completed_at=1, status="COMPLETED", events=1
    )
    [found] = corrected(call(charged_usd=None))
    event = events.parse(DECODER, EVENTS.encode(dict(found.event), 1))
    state.org_id, state.agent_id, state.owner_team_id = "acme", "billing", "payments"
    assert state.apply(event, offset=9, broker_time_us=NOW_US)
    assert (state.cost_usd, state.priced_calls, state.unpriced_calls, state.unpriced_tokens) == (Decimal(8), 1, 0, 0)
    assert (state.flags, state.last_activity_at) == ([], None), "a correction is nothing that the session does"


def test_a_budget_takes_the_correction_of_a_call_that_it_has_counted() -> None:
    budget = Budget(
        *("b1", "acme", "Billing", "AGENT", "billing", "USD", Decimal(100), "DAY", "UTC"),
        (Threshold(Decimal(1), "TERMINATE"),),
    )
    [found] = corrected(call())
    [change] = charges(SessionState(SESSION), found.event, 9, NOW_US, None, PriceBook())
    for counted_from, spent in ((7, 8), (8, 9)):
        meter = Meter("log:0")
        [counter] = meter.count(counted_from, [budget], (Change(FROM_US - 1, attousd=9 * 10**18),))
        meter.count(9, [budget], (change,))
        assert counter.spent_attousd == spent * 10**18, f"it has counted from {counted_from} on"
    assert Meter("log:0").count(9, [budget], (change,)) == []


def test_a_right_price_says_since_when() -> None:
    text = FILE.replace("active_from = 2026-12-01T00:00:00Z", "")
    with pytest.raises(UserError, match="^openai gpt-4o: needs active_from: since when is it to be corrected"):
        Revision.of(PriceBook(), parse(text), NOW_US)
