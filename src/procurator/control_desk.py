"""IO: asking the signer for entries of the control log, and reading what it has recorded, as ClickHouse shows it.

Who asks holds the desk alone, and waits until everything asked for before is signed and in the table: so a purge
never overtakes a hold, whichever process asked for it and died.
"""

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from procurator.checkpoint_file import last_checkpoint
from procurator.clickhouse import ClickHouse
from procurator.errors import Unavailable
from procurator.events import NAMESPACE
from procurator.ledger_name import control_log_of
from procurator.signer.requests import ask
from procurator.verify.trust import claimed

SIGNED_S = 60
_POLL_S = 0.25


class ControlDesk:
    """One ledger's control log. ``requests``: the signer's folder; ``wait`` sleeps and returns True on a stop."""

    def __init__(
        self, clickhouse: ClickHouse, requests: Path, checkpoints: Path, wait: Callable[[float], bool]
    ) -> None:
        self._clickhouse = clickhouse
        self._requests = requests
        self._checkpoints = checkpoints
        self._wait = wait

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from asking, once all that was asked for before is in the table.

        Raises Unavailable when signer or sink do not get there.
        """
        self._requests.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._requests / ".desk").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._until(lambda: not self._asked() and self._shows_what_is_signed())
            yield

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        """Return the payloads of one kind, in the order of the log; digests in hex."""
        rows = self._clickhouse.rows(
            "SELECT body FROM ledger_control WHERE kind = {kind:String} ORDER BY log_id, offset",
            {"kind": kind.removeprefix(NAMESPACE)},
        )
        return [json.loads(body) for (body,) in rows]

    def record(self, kind: str, payloads: Sequence[Mapping[str, Any]]) -> None:
        """Have entries written, and return once they are signed and in the table; hold the desk `alone`."""
        ids = [ask(self._requests, kind, payload) for payload in payloads]
        self._until(lambda: not self._asked() and self._shows(ids))

    def _asked(self) -> bool:
        return any(self._requests.glob("*.json"))  # the signer removes each once a checkpoint covers it

    def _shows(self, ids: Sequence[str]) -> bool:
        found = self._clickhouse.rows(
            "SELECT count() FROM ledger_control WHERE toString(event_id) IN {ids:Array(String)}", {"ids": ids}
        )
        return found == [[len(ids)]]

    def _shows_what_is_signed(self) -> bool:
        note = last_checkpoint(self._checkpoints)
        if note is None:
            return False
        checkpoint = claimed(note)
        ((size,),) = self._clickhouse.rows(
            "SELECT count() FROM ledger_control WHERE log_id = {log_id:String}",
            {"log_id": control_log_of(checkpoint.origin)},
        )
        return int(size) >= checkpoint.size

    def _until(self, done: Callable[[], bool]) -> None:
        for _ in range(int(SIGNED_S / _POLL_S)):
            if done():
                return
            if self._wait(_POLL_S):
                raise Unavailable("stopped; the signer goes on with what was asked for")
        raise Unavailable(f"not signed and in the table after {SIGNED_S} s: do `procurator sign` and `sink` run here?")
