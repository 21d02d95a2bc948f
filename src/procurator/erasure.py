"""IO: legal holds, and erasing the bytes of sessions' events by a signed entry of the control log.

Crash order: ask the signer, wait until a checkpoint covers the entry, erase. An erasure that was signed but not
carried out is carried out by `resume`, which may be repeated; entries without an erasure are never touched.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from procurator.clickhouse import ClickHouse
from procurator.control_desk import ControlDesk
from procurator.control_entries import ERASURE, LEGAL_HOLD, PURGE
from procurator.errors import UserError
from procurator.retention.holds import Hold, HoldFilter, held_by, in_force
from procurator.retention.leaves import indexes, ranges_of
from procurator.retention.sessions import facts_of, leaves_of, matching

#: Columns that hold what somebody wrote; whoever verifies wants them empty in an erased entry.
BODY_COLUMNS = ("value", "content", "thinking", "error_message", "reason")
SESSIONS_MAX = 10_000
#: A filter's hold names the sessions that fit at its time, for verifiers, unless there are more.
LISTED_MAX = 50_000
_LEAVES_PER_STATEMENT = 10_000
#: What lets the leaf hash be derived once the value is gone. Nothing can be guessed from it: each event has a nonce.
_KEEP_DIGEST = "value_sha256 = if(isNull(value), value_sha256, SHA256(assumeNotNull(value)))"


@dataclass(frozen=True)
class Erased:
    """What an erasure did: its id, sessions and entries."""

    erasure_id: str
    sessions: int
    entries: int


class Erasures:
    """Holds and erasures of one ledger."""

    def __init__(self, clickhouse: ClickHouse, desk: ControlDesk) -> None:
        self._clickhouse = clickhouse
        self._desk = desk

    def hold(
        self, org_id: str, session_ids: Sequence[str], by: str, reason: str, held: HoldFilter | None = None
    ) -> str:
        """Keep sessions, and whatever fits the filter ``held``, from erasure and purge; return the hold's id.

        Raises UserError for a session that was purged already.
        """
        hold_id = str(uuid.uuid4())
        with self._desk.alone():
            if gone := set(session_ids) & self._purged():
                raise UserError(f"session {min(gone)} was purged already: there is nothing to hold")
            listed = matching(self._clickhouse, org_id, held, LISTED_MAX) if held else []
            named = sorted({*session_ids, *listed})
            self._record_hold(hold_id, org_id, named, str(held) if held else None, by, reason, released=False)
        return hold_id

    def release(self, hold_id: str, by: str, reason: str) -> None:
        """Release a hold. Raises UserError when there is none."""
        with self._desk.alone():
            hold = self.holds().get(hold_id)
            if hold is None:
                raise UserError(f"there is no hold {hold_id}")
            self._record_hold(hold_id, hold.org_id, [], hold.filter_text, by, reason, released=True)

    def _record_hold(
        self,
        hold_id: str,
        org_id: str,
        session_ids: Sequence[str],
        filter_text: str | None,
        by: str,
        reason: str,
        *,
        released: bool,
    ) -> None:
        payload = {
            "hold_id": hold_id,
            "org_id": org_id,
            "session_ids": list(session_ids),
            "filter": filter_text,
            "released": released,
            "requested_by": by,
            "reason": reason,
        }
        self._desk.record(LEGAL_HOLD, [payload])

    def holds(self) -> dict[str, Hold]:
        """Return the holds in force, by id."""
        return in_force(self._desk.bodies(LEGAL_HOLD))

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
        with self._desk.alone():
            self._refuse_held(session_ids)
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
            self._desk.record(ERASURE, [payload])
        self.apply(ranges)
        return Erased(erasure_id, len(session_ids), sum(each["leaf_count"] for each in ranges))

    def _refuse_held(self, session_ids: Sequence[str]) -> None:
        holds = list(self.holds().values())
        for session in facts_of(self._clickhouse, session_ids):
            if hold := held_by(holds, session):
                raise UserError(
                    f"session {session.session_id} is under a legal hold ({hold.hold_id}):"
                    " it cannot be erased before its release"
                )

    def resume(self) -> int:
        """Carry out every signed erasure again, for those that a crash cut off; return how many there are."""
        bodies = self._desk.bodies(ERASURE)
        for body in bodies:
            self.apply(body["ranges"])
        return len(bodies)

    def apply(self, ranges: Iterable[dict[str, Any]]) -> None:
        """Erase the bytes of these leaves."""
        cleared = ", ".join([_KEEP_DIGEST, *(f"{name} = NULL" for name in BODY_COLUMNS)])
        for log_id, of_log in groupby(ranges, key=lambda each: each["log_id"]):
            leaves = [index for each in of_log for index in indexes(each)]
            for at in range(0, len(leaves), _LEAVES_PER_STATEMENT):
                # In the statement's text, there being too many for parameters.
                some = ",".join(map(str, leaves[at : at + _LEAVES_PER_STATEMENT]))
                self._clickhouse.execute(
                    f"ALTER TABLE {self._clickhouse.altered('events')} UPDATE {cleared}"
                    f" WHERE log_id = {{log_id:String}} AND leaf_index IN ({some}) SETTINGS mutations_sync = 2",
                    {"log_id": log_id},
                )

    def _ranges(self, session_ids: Sequence[str]) -> list[dict[str, Any]]:
        leaves = leaves_of(self._clickhouse, session_ids)
        return ranges_of((leaf.log_id, leaf.leaf_index) for leaf in leaves if not leaf.erased)

    def _purged(self) -> set[str]:
        return {session_id for body in self._desk.bodies(PURGE) for session_id in body["session_ids"]}
