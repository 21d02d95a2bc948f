"""Bodies: taking apart what a client compressed, and compressing answers.

Pure but for the libraries. A body may hold several frames one after the other (clickhouse-connect sends a lz4 frame a
block), so each decoder starts anew on what the last one left. A body that ends inside a frame is an error, so that a
broken upload inserts nothing.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import lz4.frame
import zstandard

from procurator.deploy.embedded.clickhouse.wire import ClickHouseError

STEP_BYTES = 1 << 20


class _Frame(Protocol):
    """A decoder of one frame, as the standard library's are."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "x-gzip": lambda: zlib.decompressobj(31),
    "deflate": lambda: zlib.decompressobj(15),
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}


def broken(why: str) -> ClickHouseError:
    """A body that cannot be read to its end; nothing of it is used."""
    return ClickHouseError(33, f"Cannot read all data of the request's body: {why}", "CANNOT_READ_ALL_DATA")


def decode(encoding: str, data: memoryview) -> Iterator[bytes]:
    """The plain bytes of a body, piece by piece.

    Raises:
        ClickHouseError: 48 for an encoding not known here, 33 for a body that breaks off, 271 for one that is damaged.
    """
    if encoding in ("", "identity"):
        yield from (bytes(data[at : at + STEP_BYTES]) for at in range(0, len(data), STEP_BYTES))
        return
    if encoding not in _DECODERS:
        known = ", ".join(sorted(_DECODERS))
        raise ClickHouseError(48, f"Unknown compression method: {encoding}; known are {known}", "NOT_IMPLEMENTED")
    try:
        yield from _frames(encoding, data)
    except (zlib.error, RuntimeError, EOFError, zstandard.ZstdError) as error:
        raise ClickHouseError(271, f"Cannot decompress the {encoding} body: {error}", "CANNOT_DECOMPRESS") from error


def _frames(encoding: str, data: memoryview) -> Iterator[bytes]:
    make = _DECODERS[encoding]
    frame: _Frame = make()
    begun = False
    for at in range(0, len(data), STEP_BYTES):
        piece = bytes(data[at : at + STEP_BYTES])
        while piece:
            begun = True
            yield frame.decompress(piece)
            if not frame.eof:
                break
            piece = frame.unused_data or b""
            frame, begun = make(), False
    if begun:
        raise broken(f"the {encoding} data end inside a frame")


class Encoder:
    """Compresses an answer as it streams: `feed` each piece, then `end`."""

    def __init__(self, encoding: str, level: int = 3) -> None:
        self._head = b""
        if encoding == "lz4":
            lz4_frame = lz4.frame.LZ4FrameCompressor()
            self._head = lz4_frame.begin()
            self._feed, self._end = lz4_frame.compress, lz4_frame.flush
            return
        maker: Any
        if encoding == "zstd":
            maker = zstandard.ZstdCompressor(level=level).compressobj()
        else:
            maker = zlib.compressobj(level, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
        self._feed, self._end = maker.compress, maker.flush

    def feed(self, data: bytes) -> bytes:
        """The compressed bytes that are ready; may be empty."""
        head, self._head = self._head, b""
        return head + bytes(self._feed(data))

    def end(self) -> bytes:
        """The rest of the frame."""
        head, self._head = self._head, b""
        return head + bytes(self._end())


ENCODINGS = ("lz4", "zstd", "gzip", "deflate")


def choose(accept: str) -> str | None:
    """The first encoding of an `Accept-Encoding` header that is known here; None for plain bytes."""
    for part in accept.lower().split(","):
        name, _, weight = part.strip().partition(";")
        if name.strip() in ENCODINGS and weight.strip().replace(" ", "") not in ("q=0", "q=0.0"):
            return name.strip()
    return None
