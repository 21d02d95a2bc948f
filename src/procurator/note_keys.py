"""Ed25519 keys of C2SP ``signed-note``, and what may stand in a note's lines.

Pure but for the lazy import of ``cryptography``. Keys are written as in golang.org/x/mod/sumdb/note; there is
exactly one spelling of each. Source: https://c2sp.org/signed-note. Errors: ``CheckpointError`` alone.
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

from procurator.errors import ProcuratorError

ED25519 = b"\x01"  # the signature type byte
KEY_ID_BYTES = 4

_KEY_BYTES = 32
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")  # newline alone may stand in a note
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)


class CheckpointError(ProcuratorError):
    """A note, checkpoint or key that is malformed, of someone else, or not signed by a known key."""


class UnknownSigner(CheckpointError):
    """None of the keys that are known signed it: nothing is said about whether it was changed."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public Ed25519 key with its name. Its text is ``name+key id in hex+base64(0x01 || key)``."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        _check_key(self.public_key)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key of a verifier key text (a *vkey*)."""
        name, key_id, key = _split_key("verifier key", "", text)
        verifier = cls(name, key)
        _check_key_id(verifier, key_id)
        return verifier

    @property
    def key_id(self) -> bytes:
        """Four bytes that, with the name, say which key made a signature. Not collision-proof, nor need it be."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public_key).digest()[:KEY_ID_BYTES]

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Whether ``signature`` over ``data`` is this key's."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64encode(ED25519 + self.public_key).decode()}"


@dataclass(frozen=True, slots=True)
class Signer:
    """A private Ed25519 key (its 32-byte seed) with its name. Never printed: ``secret_text`` is asked for by name."""

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        _check_key(self.seed)

    @classmethod
    def generate(cls, name: str) -> Self:
        """A new key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key of a ``secret_text``."""
        name, key_id, seed = _split_key("signer key", "PRIVATE+KEY+", text)
        signer = cls(name, seed)
        _check_key_id(signer.verifier, key_id)
        return signer

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return Verifier(self.name, public.public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """The 64-byte Ed25519 signature of ``data``; the same data give the same signature (RFC 8032)."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(data)

    def secret_text(self) -> str:
        """``PRIVATE+KEY+name+key id in hex+base64(0x01 || seed)``: what a key file holds."""
        seed = b64encode(ED25519 + self.seed).decode()
        return f"PRIVATE+KEY+{self.name}+{self.verifier.key_id.hex()}+{seed}"


def check_text(text: object) -> None:
    """UTF-8 can carry it and no control character but newline stands in it."""
    if type(text) is not str:
        raise CheckpointError("note text must be a string")
    control = _CONTROL.search(text)
    if control:
        raise CheckpointError(f"control character {control[0]!r} at character {control.start()}")
    if _SURROGATE.search(text):
        raise CheckpointError("text that UTF-8 cannot carry (a lone surrogate)")


def decode(what: str, text: str) -> bytes:
    """Standard base64 in its one canonical spelling: padded, no white space, no stray bits."""
    try:
        decoded = b64decode(text, validate=True)
    except ValueError:
        decoded = b""
    if not decoded or b64encode(decoded).decode() != text:
        raise CheckpointError(f"{what} is not canonical base64")
    return decoded


def _split_key(what: str, prefix: str, text: str) -> tuple[str, str, bytes]:
    """Name, key id in hex and the 32 bytes of a key's text."""
    if type(text) is not str:
        raise CheckpointError(f"{what} must be text")
    if not text.startswith(prefix):
        raise CheckpointError(f"{what} must start with {prefix!r}")
    name, _, rest = text.removeprefix(prefix).partition("+")
    key_id, plus, encoded = rest.partition("+")
    if not plus or not _KEY_ID.fullmatch(key_id):
        raise CheckpointError(f"{what} must be name+8 hex digits+base64")
    key = decode(what, encoded)
    if key[:1] != ED25519 or len(key) != 1 + _KEY_BYTES:
        raise CheckpointError(f"{what} is not an Ed25519 key")
    return name, key_id, key[1:]


def _check_key_id(verifier: Verifier, key_id: str) -> None:
    if verifier.key_id.hex() != key_id:
        raise CheckpointError(f"key of {verifier.name} has id {verifier.key_id.hex()}, not {key_id}")


def _check_key(key: object) -> None:
    if type(key) is not bytes or len(key) != _KEY_BYTES:
        raise CheckpointError(f"an Ed25519 key must be {_KEY_BYTES} bytes")


def check_name(name: object) -> None:
    if type(name) is not str or not name or "+" in name or any(map(str.isspace, name)):
        raise CheckpointError("a key name must be text without spaces or plus signs")
    check_text(name)
