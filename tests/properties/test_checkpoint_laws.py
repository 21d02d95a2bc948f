"""Laws of notes: what is written is read back; bytes that nobody signed are never taken for a checkpoint."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from procurator.checkpoint import (
    Checkpoint,
    CheckpointError,
    Signer,
    Verifier,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    read_note,
    render_checkpoint,
    sign_checkpoint,
    sign_note,
)
from procurator.merkle import EMPTY_ROOT

MINE = Signer("ledger.example/mine", bytes(32))
OTHER = Signer("witness.example/other", bytes([1]) * 32)

CONTROLS = [chr(code) for code in range(32)]

lines = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=CONTROLS), min_size=1)
roots = st.binary(min_size=32, max_size=32)
extensions = st.lists(lines, max_size=3).map(tuple)
checkpoints = st.builds(Checkpoint, lines, st.integers(1, 2**63 - 1), roots, extensions) | st.builds(
    Checkpoint, lines, st.just(0), st.just(EMPTY_ROOT), extensions
)
names = lines.filter(lambda name: "+" not in name and not any(map(str.isspace, name)))
junk: Any = st.none() | st.integers() | st.text() | st.binary() | st.lists(st.text())


@settings(deadline=None)
@given(checkpoints)
def test_render_then_parse_is_the_identity(checkpoint: Checkpoint) -> None:
    assert parse_checkpoint(render_checkpoint(checkpoint)) == checkpoint


@settings(deadline=None)
@given(lines, st.text("0123456789+-_ \n", max_size=12), st.text(max_size=50), st.text(max_size=9))
def test_what_parses_renders_to_the_same_text(origin: str, size: str, root: str, rest: str) -> None:
    text = f"{origin}\n{size}\n{root}\n{rest}"
    try:
        checkpoint = parse_checkpoint(text)
    except CheckpointError:
        return
    assert render_checkpoint(checkpoint) == text


@settings(deadline=None)
@given(checkpoints)
def test_signed_is_opened_by_each_of_its_keys(checkpoint: Checkpoint) -> None:
    note = sign_checkpoint(checkpoint, MINE, OTHER)
    for known in ([MINE.verifier], [OTHER.verifier], [OTHER.verifier, MINE.verifier]):
        assert open_checkpoint(note, checkpoint.origin, known) == checkpoint
    assert read_note(note, [OTHER.verifier, MINE.verifier]).verified_by == (MINE.verifier, OTHER.verifier)


@settings(deadline=None)
@given(names, st.binary(min_size=32, max_size=32))
def test_keys_survive_their_text(name: str, seed: bytes) -> None:
    signer = Signer(name, seed)
    assert Signer.parse(signer.secret_text()) == signer
    assert Verifier.parse(str(signer.verifier)) == signer.verifier


@settings(max_examples=500, deadline=None)
@given(checkpoints, st.data())
def test_no_mutation_of_a_note_opens_as_another_checkpoint(checkpoint: Checkpoint, data: st.DataObject) -> None:
    note = sign_checkpoint(checkpoint, MINE, OTHER)
    start = data.draw(st.integers(0, len(note)))
    end = data.draw(st.integers(start, min(len(note), start + 6)))
    mutated = note[:start] + data.draw(st.binary(max_size=6)) + note[end:]
    try:
        assert parse_checkpoint(open_note(mutated, [MINE.verifier])) == checkpoint
    except CheckpointError:
        return
    # Only the line of the key that is not known may have changed: the known one's has a single spelling.
    assert mutated.startswith(note[: note.rindex("— ".encode())])


@settings(deadline=None)
@given(checkpoints, checkpoints)
def test_a_signature_cannot_be_carried_to_another_text(one: Checkpoint, two: Checkpoint) -> None:
    signature_block = sign_checkpoint(one, MINE)[len(render_checkpoint(one).encode()) :]
    try:
        opened = open_note(render_checkpoint(two).encode() + signature_block, [MINE.verifier])
    except CheckpointError:
        return
    assert opened == render_checkpoint(one) == render_checkpoint(two)


@settings(deadline=None)
@given(junk | st.binary().map(lambda tail: sign_note("a\n", MINE) + tail))
def test_junk_raises_only_checkpoint_error(thing: Any) -> None:
    for call in (
        lambda: open_note(thing, [MINE.verifier]),
        lambda: parse_checkpoint(thing),
        lambda: Verifier.parse(thing),
        lambda: Signer.parse(thing),
        lambda: Verifier(thing, thing),
        lambda: sign_note(thing, MINE),
        lambda: Checkpoint(thing, thing, thing, thing),
    ):
        try:
            call()
        except CheckpointError:
            continue
