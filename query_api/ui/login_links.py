"""Links that sign a browser in once, within minutes: `up` and `demo` print one, so that nobody copies a key."""

import secrets
import threading
import time
from collections.abc import Callable
from hashlib import sha256

LINK_S = 15 * 60
#: Links that may be open at once: the oldest goes first.
LINKS_MAX = 100


class LoginLinks:
    """Open links of this process, kept as digests of their codes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[bytes, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def make(self, token: str) -> str:
        """Return the code of a new link that signs in with ``token``."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            if len(self._open) >= LINKS_MAX:
                self._open.pop(next(iter(self._open)))
            self._open[_digest(code)] = self._clock() + LINK_S, token
        return code

    def redeem(self, code: str) -> str | None:
        """Return the token behind ``code``, once; None when it was used, is too old or never was."""
        with self._lock:
            until, token = self._open.pop(_digest(code), (0.0, ""))
        return token if self._clock() < until else None


def _digest(code: str) -> bytes:
    return sha256(code.encode("utf-8", "surrogatepass")).digest()
