"""What was published against what arrived: entries, session states and Merkle trees. Pure but for ``select``.

The demo and the fault tests ask the same question after a load: does the ledger hold each event once, has every
session's state seen it, and is the tree of each log the one that its head claims?
``select`` runs a statement with bound parameters and returns its rows, as `procurator.clickhouse.ClickHouse.rows` does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from procurator.merkle import EMPTY_ROOT, Accumulator
from procurator.reconcile import Select

#: Session ids a query: they travel in its address.
_IDS_MAX = 200
#: Leaves held at once while a tree is computed again.
_LEAVES_MAX = 100_000


@dataclass(frozen=True)
class Arrival:
    """What the ledger holds of some sessions."""

    entries: int = 0
    #: Distinct (log, offset): equal to ``entries`` unless a record was inserted twice.
    records: int = 0
    #: Entries that count: neither rejected, nor misplaced, nor repeated.
    counted: int = 0
    #: Events that the sessions' published states have seen.
    folded: int = 0
    #: Sessions that have a published state.
    sessions: int = 0

    def has_all(self, events: int, sessions: int) -> bool:
        """Say whether each of so many published events counts once, in the ledger and in its session's state.

        There may be more entries than that: an emitter that was not sure sends again, which is marked as repeated.
        """
        return (self.counted, self.folded, self.sessions, self.entries) == (events, events, sessions, self.records)

    def __add__(self, other: "Arrival") -> "Arrival":
        return Arrival(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Arrival)))


@dataclass(frozen=True)
class TreeReport:
    """One log, its tree computed again from the leaves on file; ``fault`` says what is wrong, empty when sound."""

    log_id: str
    size: int
    root: str
    fault: str


def arrival(select: Select, session_ids: Iterable[str]) -> Arrival:
    """Return what has arrived of these sessions so far."""
    ids, total = list(session_ids), Arrival()
    for start in range(0, len(ids), _IDS_MAX):
        params = {"ids": ids[start : start + _IDS_MAX]}
        ((entries, records, counted),) = select(
            "SELECT count(), uniqExact(log_id, offset), countIf(counted) FROM events"
            " WHERE session_id IN {ids:Array(UUID)}",
            params,
        )
        ((folded, sessions),) = select(
            "SELECT sum(events), count() FROM sessions FINAL WHERE session_id IN {ids:Array(UUID)}", params
        )
        total += Arrival(int(entries), int(records), int(counted), int(folded), int(sessions))
    return total


def trees(select: Select) -> Iterator[TreeReport]:
    """Compute the tree of each log of session events again: dense to its end, and at the head on file the same root."""
    heads = {
        str(log): (int(size), str(root).lower())
        for log, size, root in select("SELECT log_id, size, hex(root) FROM ledger_heads FINAL", {})
    }
    for log_id, entries in select("SELECT log_id, count() FROM events GROUP BY log_id ORDER BY log_id", {}):
        yield _tree(select, str(log_id), int(entries), *heads.get(str(log_id), (0, EMPTY_ROOT.hex())))


def _tree(select: Select, log_id: str, entries: int, head_size: int, head_root: str) -> TreeReport:
    def report(fault: str = "") -> TreeReport:
        return TreeReport(log_id, tree.size, tree.root().hex(), fault)

    tree = Accumulator()
    if head_size > entries:
        return report(f"the head on file has {head_size} leaves, the log {entries}")
    # Two stretches: up to the head, whose root is known, and the entries that came after it.
    for end in (head_size, entries):
        while tree.size < end:
            leaves = select(
                "SELECT leaf_index, hex(leaf_hash) FROM events WHERE log_id = {log:String}"
                " AND leaf_index >= {first:UInt64} AND leaf_index < {end:UInt64} ORDER BY leaf_index",
                {"log": log_id, "first": tree.size, "end": min(end, tree.size + _LEAVES_MAX)},
            )
            if [int(index) for index, _ in leaves] != list(range(tree.size, tree.size + len(leaves))) or not leaves:
                return report(f"from leaf {tree.size} on, leaves are missing or doubled")
            tree.extend([bytes.fromhex(leaf) for _, leaf in leaves])
        if tree.size == head_size and tree.root().hex() != head_root:
            return report(f"the root on file at {head_size} leaves is {head_root}")
    return report()
