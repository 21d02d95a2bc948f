"""What one event of a session changes in the budgets it counts against: spend, and what open calls reserve. Pure.

An event that is rejected, misplaced, repeated or imported changes nothing and must not get here.
"""

from typing import Any

from procurator import events
from procurator.budgets.periods import charged_at
from procurator.budgets.spend import Change
from procurator.events import SessionEvent
from procurator.pricing import EXACT, Cost, PriceBook, PricingError, Usage, usage_of
from procurator.session_flags import OPEN_CALLS_MAX
from procurator.session_record import Reservation
from procurator.session_state import SessionState

_NONE: tuple[Change, ...] = ()


def spend_of(event: SessionEvent, broker_time_us: int, cost: Cost | None) -> Change:
    """Return what a completed model call spends; ``cost`` None is a call without a price."""
    tokens = sum(usage_of(event["payload"][1]))
    at_us = charged_at(event["occurred_at"], broker_time_us)
    if cost is None:
        return Change(at_us, tokens=tokens, unpriced_tokens=tokens)
    return Change(at_us, attousd=int(cost.cost_usd.scaleb(18, EXACT)), tokens=tokens)


def charges(
    state: SessionState, event: SessionEvent, offset: int, broker_time_us: int, cost: Cost | None, prices: PriceBook
) -> tuple[Change, ...]:
    """Return the changes of an event that ``state`` has just folded, and keep the state's reservations.

    A call that starts reserves what the runtime expects of it, until it completes or its session ends.
    """
    kind, payload = event["payload"]
    if kind == events.MODEL_CALL_COMPLETED:
        spent = spend_of(event, broker_time_us, cost)
        held = state.reservations.pop(payload["model_call_id"], None)
        return (spent,) if held is None else (spent, _released(held))
    if kind == events.MODEL_CALL_STARTED:
        call_id = payload["model_call_id"]
        if state.ended or call_id not in state.open_models or call_id in state.reservations:
            return _NONE
        reservation = _reservation(event, payload, offset, broker_time_us, prices)
        if reservation is None or len(state.reservations) >= OPEN_CALLS_MAX:
            return _NONE
        state.reservations[call_id] = reservation
        return (
            Change(reservation.charged_at, reserved_attousd=reservation.attousd, reserved_tokens=reservation.tokens),
        )
    if kind == events.COST_CORRECTED:
        return (_corrected(payload),)
    if kind == events.SESSION_ENDED and state.reservations:
        released = tuple(map(_released, state.reservations.values()))
        state.reservations.clear()
        return released
    return _NONE


def _reservation(
    event: SessionEvent, payload: dict[str, Any], offset: int, broker_time_us: int, prices: PriceBook
) -> Reservation | None:
    usage = Usage(input_tokens=payload["input_tokens_estimate"] or 0, output_tokens=payload["max_output_tokens"] or 0)
    tokens = sum(usage)
    if not tokens:
        return None
    try:
        cost = prices.cost(usage, payload["provider"], payload["model"], broker_time_us, event["org_id"])
    except PricingError:
        return None
    attousd = 0 if cost is None else int(cost.cost_usd.scaleb(18, EXACT))
    return Reservation(offset, charged_at(event["occurred_at"], broker_time_us), attousd, tokens)


def _corrected(payload: dict[str, Any]) -> Change:
    """Return what a correction changes of the counters that have counted its call."""
    return Change(
        payload["charged_at"],
        attousd=int.from_bytes(payload["difference_usd"], "big", signed=True),
        unpriced_tokens=-(payload["newly_priced_tokens"] or 0),
        since_offset=payload["corrects_offset"],
    )


def _released(held: Reservation) -> Change:
    return Change(
        held.charged_at,
        reserved_attousd=-held.attousd,
        reserved_tokens=-held.tokens,
        since_offset=held.offset,
    )
