"""IO: sessions and their leaves as the tables have them: what holds and retention periods are judged by."""

from collections.abc import Iterator, Sequence
from typing import Any

from procurator.clickhouse import ClickHouse
from procurator.retention.holds import HoldFilter, SessionFacts
from procurator.retention.leaves import Leaf
from procurator.transitions import TERMINAL

NO_SESSION = "00000000-0000-0000-0000-000000000000"
#: So that a statement stays below the server's max_query_size (256 KiB).
IDS_MAX = 4_000
PAGE_SESSIONS = 5_000

_FACTS = (
    "toString(session_id), org_id, owner_team_id, agent_id, user_id, labels, toUnixTimestamp64Micro(as_of) AS as_of_us"
)
_COLUMNS = {"org": "org_id", "team": "owner_team_id", "agent": "agent_id", "user": "user_id"}


def ids_text(session_ids: Sequence[str]) -> str:
    """Return checked UUIDs as they stand in a statement's text, there being too many for parameters."""
    return ",".join(f"'{session_id}'" for session_id in session_ids)


def facts_of(clickhouse: ClickHouse, session_ids: Sequence[str]) -> list[SessionFacts]:
    """Return these sessions in their order; one without a state is known by its id alone."""
    found: dict[str, SessionFacts] = {}
    for at in range(0, len(session_ids), IDS_MAX):
        ids = ids_text(session_ids[at : at + IDS_MAX])
        rows = clickhouse.rows(f"SELECT {_FACTS} FROM sessions FINAL WHERE session_id IN ({ids})")
        found |= {row[0]: _facts(row) for row in rows}
    return [found.get(each) or SessionFacts(each, "", "", "", None, {}, 0) for each in session_ids]


def matching(clickhouse: ClickHouse, org_id: str, held: HoldFilter, limit: int) -> list[str]:
    """Return the sessions of an organisation that fit a filter now; none when they are more than ``limit``."""
    parameters: dict[str, str | int] = {"org": org_id, "limit": limit + 1}
    conditions = ["org_id = {org:String}"]
    for number, (name, value) in enumerate(held.conditions):
        label, _, content = value.partition("=")
        parameters |= {f"v{number}": content if name == "label" else value, f"l{number}": label}
        column = f"labels[{{l{number}:String}}]" if name == "label" else _COLUMNS[name]
        conditions.append(f"{column} = {{v{number}:String}}")
        if name == "label":
            conditions.append(f"mapContains(labels, {{l{number}:String}})")
    rows = clickhouse.rows(
        f"SELECT toString(session_id) FROM sessions FINAL WHERE {' AND '.join(conditions)} LIMIT {{limit:UInt64}}",
        parameters,
    )
    return [session_id for (session_id,) in rows] if len(rows) <= limit else []


def ended_before(clickhouse: ClickHouse, before_us: int) -> Iterator[list[SessionFacts]]:
    """Yield pages of the ended sessions whose last record came before a time, by id."""
    after = NO_SESSION
    terminal = ", ".join(f"'{status}'" for status in sorted(TERMINAL))
    while True:
        rows = clickhouse.rows(
            f"SELECT {_FACTS} FROM sessions FINAL WHERE session_id > {{after:UUID}} AND status IN ({terminal})"
            " AND as_of < fromUnixTimestamp64Micro({before:Int64}, 'UTC')"
            " ORDER BY session_id LIMIT {limit:UInt64}",
            {"after": after, "before": before_us, "limit": PAGE_SESSIONS},
        )
        if rows:
            yield [_facts(row) for row in rows]
            after = str(rows[-1][0])
        if len(rows) < PAGE_SESSIONS:
            return


def leaves_of(clickhouse: ClickHouse, session_ids: Sequence[str]) -> list[Leaf]:
    """Return every leaf that the table ``events`` has of these sessions, by log and index."""
    leaves: list[Leaf] = []
    for at in range(0, len(session_ids), IDS_MAX):
        rows = clickhouse.rows(
            "SELECT log_id, leaf_index, hex(leaf_hash), toString(session_id), isNull(value) FROM events"
            f" WHERE session_id IN ({ids_text(session_ids[at : at + IDS_MAX])})"
        )
        leaves += [Leaf(log_id, index, bytes.fromhex(hash_), each, bool(no)) for log_id, index, hash_, each, no in rows]
    return sorted(leaves)


def entry_counts(clickhouse: ClickHouse, session_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return how many entries each session has, and when the last one came (broker time, µs)."""
    counts: dict[str, tuple[int, int]] = {}
    for at in range(0, len(session_ids), IDS_MAX):
        rows = clickhouse.rows(
            "SELECT toString(session_id), count(), toUnixTimestamp64Micro(max(broker_time)) FROM events"
            f" WHERE session_id IN ({ids_text(session_ids[at : at + IDS_MAX])}) GROUP BY session_id"
        )
        counts |= {session_id: (count, last_us) for session_id, count, last_us in rows}
    return counts


def _facts(row: list[Any]) -> SessionFacts:
    return SessionFacts(*row)
