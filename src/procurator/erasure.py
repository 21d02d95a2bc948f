"""IO: legal holds, and erasing the bytes of sessions' events by a signed entry of the control log.

Crash order: ask the signer, wait until a checkpoint covers the entry, erase. An erasure that was signed but not
carried out is carried out by `apply`, which may be repeated; entries without an erasure are never touched.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from procurator.clickhouse import ClickHouse
from procurator.control_entries import ERASURE, LEGAL_HOLD
from procurator.errors import Unavailable, UserError
from procurator.events import NAMESPACE
from procurator.signer.requests import ask

#: Columns that hold what somebody wrote; whoever verifies wants them empty in an erased entry.
BODY_COLUMNS = ("value", "content", "thinking", "error_message", "reason")
SIGNED_S = 60
SESSIONS_MAX = 10_000


@dataclass(frozen=True)
class Erased:
    """What an erasure did: its id, sessions and entries."""

    erasure_id: str
    sessions: int
    entries: int


class Erasures:
    """Holds and erasures of one ledger. ``requests``: the signer's folder for them."""

    def __init__(self, clickhouse: ClickHouse, requests: Path, wait: Callable[[float], bool]) -> None:
        self._clickhouse = clickhouse
        self._requests = requests
        self._wait = wait

    def hold(self, org_id: str, session_ids: Sequence[str], by: str, reason: str) -> str:
        """Keep sessions from being erased or purged; return the hold's id."""
        return self._hold(str(uuid.uuid4()), org_id, session_ids, by, reason, released=False)

    def release(self, hold_id: str, by: str, reason: str) -> None:
        """Release a hold. Raises UserError when there is none."""
        holds = self.holds()
        if hold_id not in holds:
            raise UserError(f"there is no hold {hold_id}")
        self._hold(hold_id, holds[hold_id]["org_id"], holds[hold_id]["session_ids"], by, reason, released=True)

    def _hold(
        self, hold_id: str, org_id: str, session_ids: Sequence[str], by: str, reason: str, *, released: bool
    ) -> str:
        payload = {
            "hold_id": hold_id,
            "org_id": org_id,
            "session_ids": list(session_ids),
            "released": released,
            "requested_by": by,
            "reason": reason,
        }
        self._await_entry(ask(self._requests, LEGAL_HOLD, payload))
        return hold_id

    def holds(self) -> dict[str, dict[str, Any]]:
        """Return the holds in force, by id."""
        holds: dict[str, dict[str, Any]] = {}
        for body in self._bodies(LEGAL_HOLD):
            holds.pop(body["hold_id"], None)
            if not body["released"]:
                holds[body["hold_id"]] = body
        return holds

    def sessions_of_user(self, user_id: str) -> list[str]:
        """Return the sessions that a user started."""
        found = self._clickhouse.rows(
            "SELECT toString(session_id) FROM sessions FINAL WHERE user_id = {user:String} ORDER BY 1",
            {"user": user_id},
        )
        return [session_id for (session_id,) in found]

    def erase(self, session_ids: Sequence[str], subject: str, by: str, reason: str) -> Erased:
        """Erase the bytes of every entry that these sessions have now.

        Raises UserError when there is none, or one is under a hold; nothing was asked for then.
        """
        if not 0 < len(session_ids) <= SESSIONS_MAX:
            raise UserError(f"{subject}: {len(session_ids)} sessions; an erasure takes 1 to {SESSIONS_MAX}")
        held = {each for hold in self.holds().values() for each in hold["session_ids"]} & set(session_ids)
        if held:
            raise UserError(f"session {min(held)} is under a legal hold: it cannot be erased before its release")
        ranges = self._ranges(session_ids)
        if not ranges:
            raise UserError(f"{subject} has no entries in the ledger")
        erasure_id = str(uuid.uuid4())
        payload = {
            "erasure_id": erasure_id,
            "ranges": ranges,
            "subject": subject,
            "requested_by": by,
            "reason": reason,
        }
        self._await_entry(ask(self._requests, ERASURE, payload))
        self.apply(ranges)
        return Erased(erasure_id, len(session_ids), sum(each["leaf_count"] for each in ranges))

    def resume(self) -> int:
        """Carry out every signed erasure again, for those that a crash cut off; return how many there are."""
        bodies = self._bodies(ERASURE)
        for body in bodies:
            self.apply(body["ranges"])
        return len(bodies)

    def apply(self, ranges: Iterable[dict[str, Any]]) -> None:
        """Erase the bytes of these leaves."""
        cleared = ", ".join(f"{name} = NULL" for name in BODY_COLUMNS)
        for log_id, of_log in groupby(ranges, key=lambda each: each["log_id"]):
            leaves = [index for each in of_log for index in _indexes(each)]
            self._clickhouse.execute(
                f"ALTER TABLE events UPDATE {cleared} WHERE log_id = {{log_id:String}}"
                " AND leaf_index IN {leaves:Array(UInt64)} SETTINGS mutations_sync = 2",
                {"log_id": log_id, "leaves": leaves},
            )

    def _ranges(self, session_ids: Sequence[str]) -> list[dict[str, Any]]:
        rows = self._clickhouse.rows(
            "SELECT log_id, leaf_index FROM events WHERE session_id IN {sessions:Array(UUID)} AND value IS NOT NULL"
            " ORDER BY log_id, leaf_index",
            {"sessions": list(session_ids)},
        )
        ranges: list[dict[str, Any]] = []
        for log_id, index in rows:
            last = ranges[-1] if ranges else None
            if last and last["log_id"] == log_id and last["first_leaf"] + last["leaf_count"] == index:
                last["leaf_count"] += 1
            else:
                ranges.append({"log_id": log_id, "first_leaf": index, "leaf_count": 1})
        return ranges

    def _bodies(self, kind: str) -> list[dict[str, Any]]:
        rows = self._clickhouse.rows(
            "SELECT body FROM ledger_control WHERE kind = {kind:String} ORDER BY log_id, offset",
            {"kind": kind.removeprefix(NAMESPACE)},
        )
        return [json.loads(body) for (body,) in rows]

    def _await_entry(self, event_id: str) -> None:
        """Wait until the entry is in the ledger: a heartbeat or news later it is signed, as every later one is."""
        for _ in range(2 * SIGNED_S):
            found = self._clickhouse.rows(
                "SELECT count() FROM ledger_control WHERE event_id = {id:UUID}", {"id": event_id}
            )
            if found != [[0]]:
                return
            if self._wait(0.5):
                raise Unavailable("stopped; the signer goes on with what was asked for")
        raise Unavailable(f"the signer has not written the entry in {SIGNED_S} s: does `procurator sign` run here?")


def _indexes(leaf_range: dict[str, Any]) -> range:
    return range(leaf_range["first_leaf"], leaf_range["first_leaf"] + leaf_range["leaf_count"])
