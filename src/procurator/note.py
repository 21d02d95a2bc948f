"""Signed notes: text with the signatures of one or more keys (https://c2sp.org/signed-note). Pure.

Parsing is strict, so that the bytes of what is accepted are the bytes that were signed. Errors:
``CheckpointError`` alone, whatever bytes come.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from procurator.note_keys import (
    KEY_ID_BYTES,
    CheckpointError,
    Signer,
    UnknownSigner,
    Verifier,
    check_name,
    check_text,
    decode,
)

NOTE_BYTES_MAX = 1_000_000
SIGNATURES_MAX = 100  # the specification asks for at least 16

_SIGNATURE_PREFIX = "— "  # U+2014, space


@dataclass(frozen=True, slots=True)
class Note:
    """A note that at least one known key signed: its text, and which of the known keys did, in the note's order."""

    text: str
    verified_by: tuple[Verifier, ...]


def sign_note(text: str, *signers: Signer) -> bytes:
    """The signed note over ``text`` (lines, each ended by a newline), with one signature line a signer."""
    check_text(text)
    if not text.endswith("\n"):
        raise CheckpointError("note text must end with a newline")
    if not 1 <= len(signers) <= SIGNATURES_MAX:
        raise CheckpointError(f"a note has from 1 to {SIGNATURES_MAX} signatures, not {len(signers)}")
    data = text.encode()
    lines = [
        f"{_SIGNATURE_PREFIX}{signer.name} {b64encode(signer.verifier.key_id + signer.sign(data)).decode()}\n"
        for signer in signers
    ]
    note = f"{text}\n{''.join(lines)}".encode()
    _check_length(note)
    return note


def read_note(note: bytes, verifiers: Sequence[Verifier]) -> Note:
    """The text of a signed note and who signed it.

    Signatures of unknown keys are ignored; one bad signature of a known key, or none that is known, refuses the
    note.
    """
    if type(note) is not bytes:
        raise CheckpointError("a note must be bytes")
    _check_length(note)
    try:
        decoded = note.decode()
    except UnicodeDecodeError as problem:
        raise CheckpointError(f"note is not UTF-8 at byte {problem.start}") from None
    check_text(decoded)
    text, blank, signatures = decoded.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise CheckpointError("note must be text, an empty line and signature lines, ended by a newline")
    text += "\n"
    lines = signatures[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise CheckpointError(f"note has more than {SIGNATURES_MAX} signatures")
    verified: dict[Verifier, None] = {}
    for name, key_id, signature in map(_split_signature, lines):
        known = [verifier for verifier in verifiers if (verifier.name, verifier.key_id) == (name, key_id)]
        if len(known) > 1:
            raise CheckpointError(f"more than one known key is {name}+{key_id.hex()}")
        if known and not known[0].verifies(text.encode(), signature):
            raise CheckpointError(f"signature of {name}+{key_id.hex()} does not verify")
        verified.update(dict.fromkeys(known))
    if not verified:
        raise UnknownSigner("note is not signed by any known key")
    return Note(text, tuple(verified))


def open_note(note: bytes, verifiers: Sequence[Verifier]) -> str:
    """The text of a note that a known key signed (see ``read_note``)."""
    return read_note(note, verifiers).text


def _split_signature(line: str) -> tuple[str, bytes, bytes]:
    """Name, key id and signature of a signature line, of whatever algorithm."""
    name, space, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
    if not line.startswith(_SIGNATURE_PREFIX) or not space:
        raise CheckpointError("signature line must be an em dash, a key name and base64, with spaces between")
    check_name(name)
    decoded = decode("signature", encoded)
    if len(decoded) <= KEY_ID_BYTES:
        raise CheckpointError("signature is too short")
    return name, decoded[:KEY_ID_BYTES], decoded[KEY_ID_BYTES:]


def _check_length(note: bytes) -> None:
    if len(note) > NOTE_BYTES_MAX:
        raise CheckpointError(f"note of {len(note)} bytes is longer than {NOTE_BYTES_MAX}")
