"""The append-only file of checkpoints, whole, torn and damaged."""

from pathlib import Path

import pytest

from procurator import checkpoint_file
from procurator.checkpoint import Checkpoint, Signer, sign_checkpoint
from procurator.checkpoint_file import append_checkpoint, drop_torn_tail, last_checkpoint, read_checkpoints
from procurator.errors import Fatal

SIGNER = Signer("test", bytes(32))
NOTES = [sign_checkpoint(Checkpoint("ledger", size, bytes(32)), SIGNER) for size in (1, 2, 3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints"
    for note in NOTES:
        append_checkpoint(path, note)
    return path


def test_notes_read_back_as_they_were_appended(path: Path) -> None:
    assert list(read_checkpoints(path)) == NOTES
    assert last_checkpoint(path) == NOTES[-1]
    assert drop_torn_tail(path) == 0


def test_a_missing_file_has_no_checkpoint(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "none") is None
    assert drop_torn_tail(tmp_path / "none") == 0


def test_whatever_a_crash_leaves_of_the_last_note_is_cut_off(path: Path) -> None:
    whole = path.read_bytes()
    before = len(whole) - len(NOTES[-1]) - 1
    for end in range(before, len(whole)):
        path.write_bytes(whole[:end])
        assert drop_torn_tail(path) == end - before
        assert list(read_checkpoints(path)) == NOTES[:-1]


def test_what_is_no_file_of_checkpoints_is_refused_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_file, "BLOCK_BYTES_MAX", 1_000)
    (tmp_path / "noise").write_bytes(b"x" * 5_000)
    with pytest.raises(Fatal, match="is no file of checkpoints"):
        list(read_checkpoints(tmp_path / "noise"))
