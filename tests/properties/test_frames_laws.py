"""A segment gives back what was written, and of a damaged one exactly the frames before the damage."""

from hypothesis import given
from hypothesis import strategies as st

from procurator.producers.frames import Head, Record, frame, frames, scan

HEAD = Head(schema='{"type": "record"}', cluster="broker:9092")
records = st.lists(st.tuples(st.binary(max_size=40), st.binary(min_size=1, max_size=200)), max_size=8)


def segment(written: list[Record]) -> bytes:
    return HEAD.encode() + frames(written)


@given(records)
def test_what_was_written_comes_back(written: list[Record]) -> None:
    data = segment(written)
    found = scan(data)
    assert (found.head, found.records, found.end, found.problem) == (HEAD, written, len(data), None)


@given(records, st.data())
def test_a_cut_anywhere_keeps_the_frames_before_it(written: list[Record], data: st.DataObject) -> None:
    whole = segment(written)
    cut = data.draw(st.integers(0, len(whole)))
    found = scan(whole[:cut])
    head = len(HEAD.encode())
    if cut < head:
        assert (found.head, found.records) == (None, [])
        return
    sizes = [len(frame(record)) for record in written]
    kept = sum(1 for n in range(1, len(sizes) + 1) if head + sum(sizes[:n]) <= cut)
    assert found.records == written[:kept]
    assert (found.problem is None) == (head + sum(sizes[:kept]) == cut)


@given(records, st.data())
def test_a_flipped_bit_is_found_and_what_stands_before_it_is_kept(written: list[Record], data: st.DataObject) -> None:
    whole = bytearray(segment(written))
    place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    whole[place] ^= 1 << bit
    found = scan(bytes(whole))
    assert found.problem is not None
    assert found.records == written[: len(found.records)]
    assert found.end <= place


@given(st.binary(max_size=300), st.booleans())
def test_hostile_bytes_raise_nothing(noise: bytes, with_head: bool) -> None:
    scan((HEAD.encode() if with_head else b"") + noise)


def test_zeros_are_no_frames() -> None:
    found = scan(segment([(b"k", b"v")]) + bytes(4096))
    assert found.records == [(b"k", b"v")]
    assert found.problem == "a frame's length cannot be right"
