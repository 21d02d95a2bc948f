"""What an open session does that its state does not say: it was told to end and has not yet; nothing comes from it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from procurator.clock import now_us, to_rfc3339
from procurator.config import Settings
from procurator.query_api.following import Following
from procurator.registry import Registry
from procurator.signals import TERMINATE
from procurator.topic_feed import Heard
from procurator.topics import CONTROL
from procurator.transitions import OPEN

Terminating = dict[str, Any]
_SHOWN = ("signal_id", "cause", "requested_by", "reason")
#: A session ends within its grace and what the stream processors lag; signals are remembered for longer than that.
_REMEMBERED_US = 3_600_000_000
_REMEMBERED_MAX = 50_000


class Terminations:
    """The TERMINATE signals of the last hour, by session; the first one to a session counts, as in its runtime."""

    def __init__(self) -> None:
        self._by_session: dict[str, tuple[int, Terminating]] = {}

    def note(self, signal: dict[str, Any], at_us: int) -> None:
        """Take a raw record of signal.avsc that stands on the control topic at ``at_us``."""
        requested_us = signal["requested_at"]
        if signal["kind"] != TERMINATE or requested_us < at_us - _REMEMBERED_US:
            return
        told = {name: signal[name] for name in _SHOWN} | {"requested_at": to_rfc3339(requested_us)}
        self._by_session.setdefault(signal["session_id"], (requested_us, told))
        if len(self._by_session) > _REMEMBERED_MAX:
            del self._by_session[next(iter(self._by_session))]

    def of(self, session_id: str) -> Terminating | None:
        """Return by whom, why and when a session was told to end; None when it was not."""
        found = self._by_session.get(session_id)
        return None if found is None else found[1]


class Liveness:
    """Says of sessions, as JSON values, whether they are ``terminating`` and ``stalled``. Both are of open ones alone.

    It follows the control topic from `start` on. While that cannot be read nothing is shown as terminating; what ended
    is shown by its status in any case.
    """

    def __init__(self, settings: Settings, registry: Registry, now: Callable[[], datetime] | None = None) -> None:
        self.terminations = Terminations()
        self._stalled_after = timedelta(seconds=settings.stalled_after_s)
        self._now = now or (lambda: datetime.now(UTC))
        self.following = Following(settings, registry, (CONTROL,), self._take, "signals")

    def start(self) -> None:
        """Begin to read, whether Kafka is there already or comes later."""
        self.following.start()

    def close(self) -> None:
        """Stop reading."""
        self.following.close()

    def shown(self, session: dict[str, Any]) -> dict[str, Any]:
        """Return the session with both; ``as_of`` is RFC 3339: the broker's time of its last record."""
        is_open = session["status"] in OPEN
        silence = self._now() - datetime.fromisoformat(session["as_of"])
        return {
            **session,
            "terminating": self.terminations.of(session["session_id"]) if is_open else None,
            "stalled": is_open and not session["imported"] and silence > self._stalled_after,
        }

    def _take(self, heard: list[Heard]) -> None:
        at_us = now_us()
        for _, _, _, signal in heard:
            if signal is not None:
                self.terminations.note(signal, at_us)
