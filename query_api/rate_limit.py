"""How often a principal may call: one token bucket each. Pure: the time is passed in.

Buckets are of one process: with several API processes a principal may call that many times as often.
"""

from collections import OrderedDict
from dataclasses import dataclass

#: The buckets of so many principals are kept; of more, those idle longest start anew.
_BUCKETS_MAX = 10_000


@dataclass(frozen=True)
class RatePolicy:
    """``per_s`` requests a second in the long run and ``burst`` at once; ``per_s`` 0 sets no limit."""

    per_s: float
    burst: int


class RateLimiter:
    """The buckets. A full one has ``burst`` tokens, and each request takes one."""

    def __init__(self, policy: RatePolicy) -> None:
        self._policy = policy
        #: Tokens left at a time in seconds, by principal; longest idle first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, principal_id: str, now_s: float) -> float:
        """Take a token and return 0, or take none and return how many seconds it is until there is one."""
        if not self._policy.per_s:
            return 0.0
        tokens, since_s = self._buckets.pop(principal_id, (float(self._policy.burst), now_s))
        tokens = min(self._policy.burst, tokens + max(0.0, now_s - since_s) * self._policy.per_s)
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._policy.per_s
        self._buckets[principal_id] = (tokens if wait_s else tokens - 1, now_s)
        if len(self._buckets) > _BUCKETS_MAX:
            self._buckets.popitem(last=False)
        return wait_s
