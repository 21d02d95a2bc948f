"""The ids of a stream: where a listener stands, sealed, so that they say nothing and nobody makes one up. Pure."""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from hashlib import sha256

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from procurator.errors import UserError
from procurator.query_api.live.follow import Position

_NONCE_BYTES = 12
ID_CHARS_MAX = 16_384


class BadResumeId(UserError):
    """The text is no id of this stream."""


class Seal:
    """Makes and opens ids under a key derived from ``secret``, which every API process of an installation has."""

    def __init__(self, secret: str) -> None:
        self._cipher = AESGCM(sha256(b"procurator live resume id\0" + secret.encode()).digest())

    def close(self, stream: str, position: Position) -> str:
        """Return the id of a place in ``stream``, whose name it is bound to."""
        topics: dict[str, dict[str, int]] = {}
        for log_id, offset in position.items():
            topic, _, partition = log_id.partition(":")  # said once, however many partitions there are
            topics.setdefault(topic, {})[partition] = offset
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, orjson.dumps(topics), stream.encode())
        return urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, stream: str, text: str) -> Position:
        """Return the place in ``stream`` that an id names. Raises BadResumeId."""
        try:
            data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            topics = orjson.loads(self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], stream.encode()))
        except (UnicodeEncodeError, NotBase64, ValueError, InvalidTag) as error:
            raise BadResumeId("this is no id of this stream: start again without it") from error
        return {
            f"{topic}:{partition}": offset for topic, offsets in topics.items() for partition, offset in offsets.items()
        }
