"""Which keys' signatures count, from the keys that the verifier was given on. Pure.

A rotation counts when the first checkpoint over its entry is signed by the old key. From then on the new key signs;
the old one's signature on a later checkpoint is a forgery, whether or not it was revoked.
"""

from collections.abc import Iterable

from procurator.checkpoint import Checkpoint, CheckpointError, open_checkpoint, parse_checkpoint, read_note
from procurator.note_keys import Verifier


class TrustedKeys:
    """Keys in force at one place of the control log."""

    def __init__(self, given: Iterable[Verifier]) -> None:
        self._current = {str(key): key for key in given}
        self._pending: list[tuple[str, str]] = []
        self.opened = 0

    def rotate(self, old_key: str, new_key: str) -> None:
        """Hear of a rotation; it counts once a checkpoint over it was opened."""
        self._pending.append((old_key, new_key))

    def open(self, note: bytes, origin: str) -> Checkpoint:
        """Return the checkpoint in a note. Raises CheckpointError when no key that counts here signed it.

        The first one over a rotation must be signed by the old key, which gives, and the new one, which takes over.
        """
        rotations = [(old_key, new_key) for old_key, new_key in self._pending if old_key in self._current]
        incoming = {new_key: Verifier.parse(new_key) for _, new_key in rotations}
        checkpoint = open_checkpoint(note, origin, list(self._current.values()))
        if rotations:
            signed = set(map(str, read_note(note, list({**self._current, **incoming}.values())).verified_by))
            if missing := {key for rotation in rotations for key in rotation} - signed:
                raise CheckpointError(f"the first checkpoint over a rotation is not signed by {min(missing)}")
        for old_key, new_key in rotations:
            del self._current[old_key]
            self._current[new_key] = incoming[new_key]
        self._pending.clear()
        self.opened += 1
        return checkpoint


def claimed(note: bytes) -> Checkpoint:
    """Return what a note claims, its signatures unread. Raises CheckpointError when it is no checkpoint."""
    text, blank, _ = note.rpartition(b"\n\n")
    if not blank:
        raise CheckpointError("note must be text, an empty line and signature lines")
    try:
        return parse_checkpoint(text.decode() + "\n")
    except UnicodeDecodeError:
        raise CheckpointError("note is not UTF-8") from None
