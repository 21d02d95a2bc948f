"""What was spent of a budget: one cumulative counter per source log, and their sum (a G-counter). Pure.

A counter is the sum over the records of its log from `from_offset` to `as_of_offset` that count against the budget in
the period: whoever recounts those gets the same. Of two counters with one key the one that is further on stands, so
neither order nor repetition of their records matters.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from procurator.budgets.definition import USD

#: Sums stop at the largest signed 64-bit integer, money at the largest decimal(38, 18).
TOKENS_MAX = 2**63 - 1
ATTOUSD_MAX = 10**38 - 1


class CounterKey(NamedTuple):
    """Which counter: of which budget, period and source log."""

    budget_id: str
    period_start_us: int
    log_id: str


@dataclass(slots=True)
class Counter:
    """One counter; money in 10^-18 USD. Reserved is what calls that have started may come to spend."""

    key: CounterKey
    org_id: str
    from_offset: int
    as_of_offset: int = -1
    spent_attousd: int = 0
    spent_tokens: int = 0
    unpriced_tokens: int = 0
    reserved_attousd: int = 0
    reserved_tokens: int = 0

    def add(self, change: "Change", offset: int) -> None:
        """Count what the record at ``offset`` changes."""
        self.as_of_offset = offset
        self.spent_attousd = min(self.spent_attousd + change.attousd, ATTOUSD_MAX)
        self.spent_tokens = min(self.spent_tokens + change.tokens, TOKENS_MAX)
        self.unpriced_tokens = min(self.unpriced_tokens + change.unpriced_tokens, TOKENS_MAX)
        self.reserved_attousd = min(max(self.reserved_attousd + change.reserved_attousd, 0), ATTOUSD_MAX)
        self.reserved_tokens = min(max(self.reserved_tokens + change.reserved_tokens, 0), TOKENS_MAX)


class Change(NamedTuple):
    """What one record adds to the counters of the period that holds ``charged_at_us``.

    ``since_offset`` is where stands what is taken back here, a reservation or a call that is corrected: a counter that
    begins after it never had it.
    """

    charged_at_us: int
    attousd: int = 0
    tokens: int = 0
    unpriced_tokens: int = 0
    reserved_attousd: int = 0
    reserved_tokens: int = 0
    since_offset: int | None = None


class Spend(NamedTuple):
    """What was spent and reserved over all logs; money in 10^-18 USD."""

    attousd: int = 0
    tokens: int = 0
    unpriced_tokens: int = 0
    reserved_attousd: int = 0
    reserved_tokens: int = 0

    def spent(self, unit: str) -> int:
        return self.attousd if unit == USD else self.tokens

    def reserved(self, unit: str) -> int:
        return self.reserved_attousd if unit == USD else self.reserved_tokens


def later(one: Counter | None, other: Counter) -> Counter:
    """Return the one of two counters of a key that is further on."""
    return other if one is None or other.as_of_offset > one.as_of_offset else one


def total_of(counters: Iterable[Counter]) -> Spend:
    """Return the sum over counters of different logs."""
    attousd = tokens = unpriced = reserved_attousd = reserved_tokens = 0
    for counter in counters:
        attousd += counter.spent_attousd
        tokens += counter.spent_tokens
        unpriced += counter.unpriced_tokens
        reserved_attousd += counter.reserved_attousd
        reserved_tokens += counter.reserved_tokens
    return Spend(
        min(attousd, ATTOUSD_MAX),
        min(tokens, TOKENS_MAX),
        min(unpriced, TOKENS_MAX),
        min(reserved_attousd, ATTOUSD_MAX),
        min(reserved_tokens, TOKENS_MAX),
    )
