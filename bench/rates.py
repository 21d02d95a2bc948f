"""How fast rows appear in a table, for whoever puts them there."""

import time
from collections.abc import Callable

_TIMEOUT_S = 900.0
_POLL_S = 0.05


def steady_rate(count: Callable[[], int], total: int) -> float:
    """Return rows per second from the first rows that ``count`` shows to the last of ``total``.

    The first rows themselves are left out, with all that had to start before them. Raises TimeoutError.
    """
    until_s = time.monotonic() + _TIMEOUT_S
    first: tuple[int, float] | None = None
    while time.monotonic() < until_s:
        rows, now_s = count(), time.monotonic()
        if rows and first is None:
            first = rows, now_s
        if rows >= total and first is not None:
            if rows == first[0]:
                raise ValueError(f"{total} rows came as one block: too few to measure")
            return (rows - first[0]) / (now_s - first[1])
        time.sleep(_POLL_S)
    raise TimeoutError(f"{total} rows did not come within {_TIMEOUT_S:.0f} s")
