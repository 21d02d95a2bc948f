"""What an answer means, when to try again, when to give up. Pure: time and chance are given."""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

_HOUR_S = 3600.0


class Verdict(Enum):
    """What becomes of a batch."""

    TAKEN = "taken"
    #: The receiver cannot now: the same again, later.
    LATER = "later"
    #: The receiver will never take these bytes.
    REFUSED = "refused"
    #: The receiver wants nothing any more.
    GONE = "gone"


@dataclass(frozen=True)
class RetryPolicy:
    """Waits double from ``first_s`` to ``most_s``, each shortened by up to half, so that nobody knocks in step.

    After ``failures_max`` failures in a row the breaker opens: no wait is shorter than ``open_s`` before chance has
    shortened it.
    """

    first_s: float = 1.0
    most_s: float = 300.0
    retry_after_s_max: float = _HOUR_S
    failures_max: int = 5
    open_s: float = 30.0
    #: A single entry that is refused, after so many failures in a row of whatever kind, is a dead letter.
    refusals_max: int = 3
    #: So is a batch that could not be delivered for so long.
    give_up_s: float = 24 * _HOUR_S
    #: An endpoint with so many dead letters is stopped.
    dead_letters_max: int = 1_000

    def breaker_open(self, failures: int) -> bool:
        """Tell whether so many failures in a row open the breaker."""
        return failures >= self.failures_max

    def delay_s(self, failures: int, chance: float, retry_after_s: float | None) -> float:
        """Return how long to wait after the ``failures``-th failure; ``chance`` is within 0 and 1.

        Never shorter than the receiver asked for, up to ``retry_after_s_max``.
        """
        least = self.open_s if self.breaker_open(failures) else self.first_s
        backed_off = min(self.most_s, max(least, self.first_s * 2.0 ** min(failures - 1, 30)))
        asked = min(retry_after_s or 0.0, self.retry_after_s_max)
        return max(backed_off * (1 - chance / 2), asked)

    def gives_up(self, verdict: Verdict, entries: int, failures: int, failing_s: float) -> bool:
        """Tell whether a batch of ``entries`` becomes a dead letter after this failure."""
        if verdict is Verdict.REFUSED:
            return entries == 1 and failures >= self.refusals_max
        return failing_s >= self.give_up_s


def judge(status: int | None) -> Verdict:
    """Return what an answer's status means; None: there was no answer.

    2xx is success, whatever the body says. Redirections are not followed. 400, 413 and 422 are about the bytes; other
    refusals (401, 404, …) are about the endpoint, which somebody can put right.
    """
    match status:
        case None:
            return Verdict.LATER
        case 410:
            return Verdict.GONE
        case 400 | 413 | 422:
            return Verdict.REFUSED
        case _:
            return Verdict.TAKEN if 200 <= status < 300 else Verdict.LATER


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, given as a number or a date; None when it says nothing."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, aware.timestamp() - now_s)
    except (ValueError, OverflowError):
        return None
