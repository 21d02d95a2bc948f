"""IO: carrying out purges that are signed: their rows go, and a second entry says so.

Order: tombstones in the state topic, rows of ``sessions``, rows of ``events``, a look whether they are gone, the
entry. Everything may be repeated, and a row that no signed purge names is never touched: an event that came after
the purge was written stays, and its session with it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from procurator.clickhouse import ClickHouse
from procurator.control_desk import ControlDesk
from procurator.control_entries import PURGE
from procurator.errors import Fatal
from procurator.kafka_writing import write_all
from procurator.retention.leaves import Leaf, indexes
from procurator.retention.sessions import IDS_MAX, ids_text, leaves_of
from procurator.topics import SESSION_STATE

_SYNC = "SETTINGS mutations_sync = 2"
_PURGED = (
    "session_id IN (SELECT arrayJoin(JSONExtract(assumeNotNull(body), 'session_ids', 'Array(UUID)'))"
    " FROM ledger_control WHERE kind = 'Purge')"
)
_WITHOUT_ENTRY = f"session_id NOT IN (SELECT session_id FROM events WHERE {_PURGED})"


class Removal:
    """Removes what signed purges name. ``clickhouse`` needs the role purger."""

    def __init__(self, clickhouse: ClickHouse, desk: ControlDesk, bootstrap_servers: str) -> None:
        self._clickhouse = clickhouse
        self._desk = desk
        self._bootstrap_servers = bootstrap_servers

    def pending(self) -> list[dict[str, Any]]:
        """Return the purges (payloads, digests in hex) that are signed and have no second entry."""
        bodies = self._desk.bodies(PURGE)
        done = {body["purge_id"] for body in bodies if body.get("completed")}
        return [body for body in bodies if body["purge_id"] not in done]

    def carry_out(self) -> int:
        """Carry out every pending purge; return how many there were."""
        purges = self.pending()
        sessions = sorted({session_id for purge in purges for session_id in purge["session_ids"]})
        recorded = {(each["log_id"], index) for purge in purges for each in purge["ranges"] for index in indexes(each)}
        for at in range(0, len(sessions), IDS_MAX):
            self._remove(sessions[at : at + IDS_MAX], recorded)
        if purges:
            with self._desk.alone():
                again = {purge["purge_id"] for purge in self.pending()}
                self._desk.record(PURGE, [_completion(purge) for purge in purges if purge["purge_id"] in again])
        return len(purges)

    def sweep(self) -> int:
        """Remove states of purged sessions that a sink has read again, from before their tombstones; return how many.

        A session with an entry keeps its state: its events came after the purge.
        """
        rows = self._clickhouse.rows(f"SELECT toString(session_id) FROM sessions WHERE {_PURGED} AND {_WITHOUT_ENTRY}")
        sessions = sorted({session_id for (session_id,) in rows})
        for at in range(0, len(sessions), IDS_MAX):
            self._forget(sessions[at : at + IDS_MAX])
        return len(sessions)

    def _remove(self, sessions: Sequence[str], recorded: set[tuple[str, int]]) -> None:
        present = leaves_of(self._clickhouse, sessions)
        later = [leaf for leaf in present if (leaf.log_id, leaf.leaf_index) not in recorded]
        whole = sorted(set(sessions) - {leaf.session_id for leaf in later})
        if whole:
            self._forget(whole)
        self._delete(sessions, present, later)
        left = leaves_of(self._clickhouse, sessions)
        if still := [leaf for leaf in left if (leaf.log_id, leaf.leaf_index) in recorded]:
            raise Fatal(f"{len(still)} rows of purged sessions are still there, the first of {still[0].session_id}")

    def _delete(self, sessions: Sequence[str], present: Sequence[Leaf], later: Iterable[Leaf]) -> None:
        """Delete the leaves ``present``, but for ``later`` ones; whatever comes meanwhile has a higher index."""
        if not present:
            return
        last = {leaf.log_id: leaf.leaf_index for leaf in present}  # they ascend
        until = " OR ".join(f"(log_id = '{log_id}' AND leaf_index <= {index})" for log_id, index in last.items())
        spared = "".join(f" AND NOT (log_id = '{leaf.log_id}' AND leaf_index = {leaf.leaf_index})" for leaf in later)
        self._clickhouse.execute(
            f"ALTER TABLE {self._clickhouse.altered('events')} DELETE"
            f" WHERE session_id IN ({ids_text(sessions)}) AND ({until}){spared} {_SYNC}"
        )

    def _forget(self, sessions: Sequence[str]) -> None:
        """Remove the states: from the topic, so that nobody restores them, then from the table."""
        # Rows go once every tombstone is there: without it the state stays in the topic for ever.
        tombstones = ((SESSION_STATE.name, session_id, None) for session_id in sessions)
        write_all(self._bootstrap_servers, tombstones, "tombstones of purged sessions")
        table = self._clickhouse.altered("sessions")
        self._clickhouse.execute(f"ALTER TABLE {table} DELETE WHERE session_id IN ({ids_text(sessions)}) {_SYNC}")


def _completion(purge: dict[str, Any]) -> dict[str, Any]:
    digest = purge["export_sha256"]
    return {
        "purge_id": purge["purge_id"],
        "ranges": [],
        "retained_hashes": [],
        "session_ids": [],
        "export_sha256": bytes.fromhex(digest) if digest else None,
        "totals": purge["totals"],
        "requested_by": purge["requested_by"],
        "reason": purge["reason"],
        "completed": True,
    }
