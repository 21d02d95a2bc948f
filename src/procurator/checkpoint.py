"""Signed checkpoints in the transparency-log world's own format: C2SP ``tlog-checkpoint``. Pure.

A checkpoint is a signed note (``procurator.note``), UTF-8 text::

    ledger.example/acme                              origin: which ledger
    20852163                                         size: leaves in the tree
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=     root: base64 of 32 bytes, then extension lines, if any
                                                     an empty line
    — ledger.example/acme Az3grlgtzPICa5OS8npV…      one or more signatures: base64(key id || signature)

There is exactly one spelling of a number and of base64. Source: https://c2sp.org/tlog-checkpoint.
Errors: ``CheckpointError`` and nothing else, whatever text or bytes come.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from procurator.merkle import EMPTY_ROOT, HASH_BYTES, SIZE_MAX
from procurator.note import Note, open_note, read_note, sign_note
from procurator.note_keys import CheckpointError, Signer, Verifier, check_text, decode

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Note",
    "Signer",
    "Verifier",
    "open_checkpoint",
    "open_note",
    "parse_checkpoint",
    "read_note",
    "render_checkpoint",
    "sign_checkpoint",
    "sign_note",
]

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A ledger's size and Merkle root. One that breaks the format cannot be made."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lines = (self.origin, *self.extensions) if type(self.extensions) is tuple else (None,)
        for line in lines:
            if type(line) is not str or not line or "\n" in line:
                raise CheckpointError("origin and extensions of a checkpoint are lines of text, none of them empty")
            check_text(line)
        if type(self.size) is not int or not 0 <= self.size <= SIZE_MAX:
            raise CheckpointError("checkpoint size must be an integer from 0 to 2^63 - 1")
        if type(self.root) is not bytes or len(self.root) != HASH_BYTES:
            raise CheckpointError(f"checkpoint root must be {HASH_BYTES} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointError("checkpoint of an empty tree must have the empty tree's root")


def render_checkpoint(checkpoint: Checkpoint) -> str:
    """The note text of a checkpoint, unsigned."""
    root = b64encode(checkpoint.root).decode()
    lines = [checkpoint.origin, str(checkpoint.size), root, *checkpoint.extensions]
    return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in a note's text (which ``open_note`` returned). Parse, then render, is the identity."""
    check_text(text)
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop():
        raise CheckpointError("checkpoint must be lines of origin, size and root, each ended by a newline")
    origin, size, root, *extensions = lines
    if not _SIZE.fullmatch(size):
        raise CheckpointError("checkpoint size must be a decimal number without sign or leading zeros")
    return Checkpoint(origin, int(size), decode("checkpoint root", root), tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, *signers: Signer) -> bytes:
    """The signed note of a checkpoint."""
    return sign_note(render_checkpoint(checkpoint), *signers)


def open_checkpoint(note: bytes, origin: str, verifiers: Sequence[Verifier]) -> Checkpoint:
    """The checkpoint of the ledger ``origin`` in a note that a known key signed."""
    checkpoint = parse_checkpoint(open_note(note, verifiers))
    if checkpoint.origin != origin:
        raise CheckpointError(f"checkpoint is of {checkpoint.origin!r}, not of {origin!r}")
    return checkpoint
