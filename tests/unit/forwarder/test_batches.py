"""Windows and batches: nothing left out, nothing twice, each log in its order, memory bounded."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from procurator.forwarder.batch import Batch, BatchPolicy, gather, numbered
from procurator.forwarder.entries import Entry
from procurator.forwarder.window import Chunk, Window
from procurator.webhooks.endpoint import Subject
from procurator.webhooks.state import Entries

_LOGS = ("a", "b", "c")
#: Of each log the offsets that are there, each wanted or not.
_CONTENTS = st.fixed_dictionaries({log: st.dictionaries(st.integers(0, 60), st.booleans()) for log in _LOGS})
_POLICIES = st.builds(BatchPolicy, entries_max=st.integers(1, 9), bytes_max=st.integers(10, 200))


def _entry(log_id: str, offset: int, wanted: bool = True) -> Entry:
    subject = Subject("TurnRecorded" if wanted else "Heartbeat", "acme", "t", "a")
    return Entry(log_id, offset, 0, 10 + offset % 7, subject, dict)


def _chunk(log_id: str, offsets: dict[int, bool]) -> Chunk:
    chunk = Chunk(0)
    chunk.add([_entry(log_id, offset, offsets[offset]) for offset in sorted(offsets)], max(offsets, default=-1) + 1)
    return chunk


def _wants(entry: Entry) -> bool:
    return entry.subject.kind == "TurnRecorded"


def _size(entry: Entry) -> int:
    return entry.size_bytes


@given(contents=_CONTENTS, policy=_POLICIES, cut=st.integers(1, 9))
def test_batch_by_batch_everything_is_delivered_once_and_in_order(
    contents: dict[str, dict[int, bool]], policy: BatchPolicy, cut: int
) -> None:
    """Also where a batch is cut short, as when it is refused."""
    chunks = {log_id: _chunk(log_id, offsets) for log_id, offsets in contents.items()}
    positions = dict.fromkeys(_LOGS, 0)
    found: dict[str, list[int]] = defaultdict(list)
    for _ in range(500):
        batch, full = gather(chunks, positions, _wants, _size, policy)
        assert len(batch.entries) <= policy.entries_max
        assert len(batch.entries) <= 1 or sum(map(_size, batch.entries)) <= policy.bytes_max
        if not batch.entries:
            break
        if full and cut < len(batch.entries):
            batch = batch.first(cut)
        for entry in batch.entries:
            found[entry.log_id].append(entry.offset)
        assert all(batch.ends[log_id] >= at for log_id, at in positions.items())
        positions = dict(batch.ends)
    wanted = {log_id: sorted(at for at, yes in offsets.items() if yes) for log_id, offsets in contents.items()}
    assert {log_id: found[log_id] for log_id in _LOGS} == wanted


@given(added=st.lists(st.tuples(st.sampled_from(_LOGS), st.integers(1, 5)), max_size=40), size=st.integers(1, 300))
def test_a_window_keeps_the_newest_and_no_more_than_it_may(added: list[tuple[str, int]], size: int) -> None:
    window = Window(dict.fromkeys(_LOGS, 0), size)
    ends = dict.fromkeys(_LOGS, 0)
    for log_id, count in added:
        end = ends[log_id] + count
        window.add(log_id, [_entry(log_id, offset) for offset in range(ends[log_id], end)], end)
        ends[log_id] = end
    assert window.ends == ends
    kept = {log_id: chunk.since(chunk.start, 1_000)[0] for log_id, chunk in window.chunks.items()}
    for log_id, entries in kept.items():
        assert [entry.offset for entry in entries] == list(range(window.chunks[log_id].start, ends[log_id]))
    last = added[-1][1] * 16 if added else 0
    assert sum(entry.size_bytes for entries in kept.values() for entry in entries) <= max(size, last)


def test_a_position_never_goes_back() -> None:
    """Kafka's end counts marks of transactions that nobody reads."""
    chunk = _chunk("a", {0: True, 5: True})
    assert chunk.since(9, 10) == ([], 9)
    assert chunk.since(1, 1)[1] == 6


def test_numbers_are_those_of_the_places_also_where_an_entry_is_no_more() -> None:
    entries = [_entry("a", 1), _entry("b", 7)]
    pointers = (Entries("a", (1, 2)), Entries("b", (7,)))
    assert [number for number, _ in numbered(entries, pointers, 40)] == [40, 42]
    assert Batch(entries, {}).pointers == (Entries("a", (1,)), Entries("b", (7,)))
