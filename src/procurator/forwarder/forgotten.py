"""IO: what Kafka still has of sessions although the ledger was told to forget it: it is not delivered again."""

from collections.abc import Sequence

from procurator.clickhouse import ClickHouse
from procurator.forwarder.entries import Entry
from procurator.retention.sessions import ids_text


def without_forgotten(clickhouse: ClickHouse, log_id: str, entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries of one log that were neither erased nor purged.

    Only what the ledger says counts: an entry that it does not have yet is delivered, unless its session was purged.
    Raises what the client raises.
    """
    sessions = sorted({entry.session_id for entry in entries if entry.session_id is not None})
    if not sessions:
        return list(entries)
    ids = f"({ids_text(sessions)})"
    purged = clickhouse.rows(
        "SELECT DISTINCT toString(session_id) FROM (SELECT"
        " arrayJoin(JSONExtract(assumeNotNull(body), 'session_ids', 'Array(UUID)')) AS session_id"
        f" FROM ledger_control WHERE kind = 'Purge') WHERE session_id IN {ids}"
    )
    rows = clickhouse.rows(
        f"SELECT offset, isNull(value) FROM events WHERE session_id IN {ids} AND log_id = {{log_id:String}}"
        " AND offset >= {first:UInt64} AND offset <= {last:UInt64}",
        {"log_id": log_id, "first": entries[0].offset, "last": entries[-1].offset},
    )
    gone, erased = {session_id for (session_id,) in purged}, {int(offset): bool(no) for offset, no in rows}
    return [entry for entry in entries if not erased.get(entry.offset, entry.session_id in gone)]
