"""Which sequence numbers of a session's emitters have been seen. Pure; stream and sink judge repeats by it alike.

An event is *repeated* when its (session, emitter, sequence) stands at a lower offset of the same log. Numbers are
dense per session and emitter, so the seen ones are kept as ascending half-open runs, nearly always a single one.
"""

from bisect import bisect_right

#: Flat runs: ``[first, end, first, end, …]``, ascending, never touching one another.
Runs = list[int]


def observe(runs: Runs, sequence: int) -> bool:
    """Note ``sequence`` in ``runs`` and return whether it had been seen before; then ``runs`` is unchanged."""
    if runs and runs[-1] == sequence:
        runs[-1] += 1
        return False
    at = bisect_right(runs, sequence)
    if at % 2:  # an odd number of borders at or below it: inside a run
        return True
    joins_left = at > 0 and runs[at - 1] == sequence
    joins_right = at < len(runs) and runs[at] == sequence + 1
    if joins_left and joins_right:
        del runs[at - 1 : at + 1]
    elif joins_left:
        runs[at - 1] += 1
    elif joins_right:
        runs[at] -= 1
    else:
        runs[at:at] = (sequence, sequence + 1)
    return False


def missing(runs: Runs) -> int:
    """Return how many numbers from 0 to the highest one seen have not been seen."""
    return runs[-1] - sum(runs[1::2]) + sum(runs[0::2]) if runs else 0
