"""IO: the signing key and the file of checkpoints: opening what was signed before, signing what comes next."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from procurator.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from procurator.checkpoint_file import append_checkpoint, drop_torn_tail, last_checkpoint
from procurator.key_files import ensure_signer, load_signer, next_path, promote_next
from procurator.note_keys import Verifier
from procurator.signer.trees import Inconsistent

log = logging.getLogger(__name__)


class Notary:
    """Signs with the key at ``key_file``, generated if there is none, and appends to ``checkpoints_file``."""

    def __init__(self, key_file: Path, checkpoints_file: Path) -> None:
        self._key_file = key_file
        self._checkpoints_file = checkpoints_file
        checkpoints_file.parent.mkdir(parents=True, exist_ok=True)
        ensure_signer(key_file)

    def verifiers(self, earlier: Iterable[str] = ()) -> list[Verifier]:
        """Return the keys whose signatures count: the present one, the next one and ``earlier`` ones."""
        texts = {*earlier, str(load_signer(self._key_file).verifier)}
        if next_path(self._key_file).exists():
            texts.add(str(load_signer(next_path(self._key_file)).verifier))
        return [Verifier.parse(text) for text in sorted(texts)]

    def signed_before(self, origin: str, kept: bytes, earlier: Iterable[str]) -> Iterator[tuple[Checkpoint, str]]:
        """Yield the checkpoint ``kept`` elsewhere and the last one on file, each with words for where it stands.

        A torn note at the end of the file is cut off: its bytes were never published.
        """
        path = self._checkpoints_file
        if torn := drop_torn_tail(path):
            log.warning("cut %d bytes of a torn checkpoint off the end of %s", torn, path)
        filed = last_checkpoint(path)
        if kept and filed is None:
            raise Inconsistent(f"{path} is gone or empty, but checkpoints were signed: restore it from a backup")
        verifiers = self.verifiers(earlier)
        for note, source in ((kept, "the checkpoint in the signer's state"), (filed, f"the last checkpoint in {path}")):
            if note:
                yield open_checkpoint(note, origin, verifiers), source

    def sign(self, checkpoint: Checkpoint, rotation: Mapping[str, object] | None) -> bytes:
        """Return the signed note, which is on file then. The first one over a rotation is signed by both keys."""
        signers = [load_signer(self._key_file)]
        if rotation and rotation["old_key"] == str(signers[0].verifier):
            signers.append(load_signer(next_path(self._key_file)))
        note = sign_checkpoint(checkpoint, *signers)
        append_checkpoint(self._checkpoints_file, note)
        return note

    def rotate(self, rotation: Mapping[str, object]) -> None:
        """Sign with the new key of a rotation that a checkpoint covers from now on; nothing if that is so already."""
        path = next_path(self._key_file)
        if path.exists() and rotation["new_key"] == str(load_signer(path).verifier):
            promote_next(self._key_file)
            log.info("the signing key is now %s", rotation["new_key"])
