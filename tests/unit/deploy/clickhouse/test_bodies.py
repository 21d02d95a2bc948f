"""Compressed bodies: any frames, whole or refused."""

import gzip
import zlib
from collections.abc import Callable

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from procurator.deploy.embedded.clickhouse.bodies import ENCODINGS, Encoder, choose, decode
from procurator.deploy.embedded.clickhouse.wire import ClickHouseError

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "deflate": zlib.compress,
}


def _decoded(encoding: str, body: bytes) -> bytes:
    return b"".join(decode(encoding, memoryview(body)))


@pytest.mark.parametrize("encoding", COMPRESS)
@given(parts=st.lists(st.binary(max_size=2000), min_size=1, max_size=4))
def test_all_frames_of_a_body_are_read(encoding: str, parts: list[bytes]) -> None:
    body = b"".join(COMPRESS[encoding](part) for part in parts)
    assert _decoded(encoding, body) == b"".join(parts)


@pytest.mark.parametrize("encoding", COMPRESS)
@given(data=st.binary(min_size=1, max_size=2000), cut=st.integers(1, 40))
def test_a_body_that_breaks_off_is_refused(encoding: str, data: bytes, cut: int) -> None:
    body = COMPRESS[encoding](data) + COMPRESS[encoding](data)
    last = len(COMPRESS[encoding](data))
    with pytest.raises(ClickHouseError) as error:
        _decoded(encoding, body[: -min(cut, last - 1)])
    assert error.value.code in (33, 271)


@pytest.mark.parametrize("encoding", COMPRESS)
def test_large_bodies_cross_the_steps(encoding: str) -> None:
    data = bytes(range(256)) * 20_000
    assert _decoded(encoding, COMPRESS[encoding](data) * 2) == data * 2


def test_plain_bodies_and_unknown_encodings() -> None:
    assert _decoded("", b"x" * 3_000_000) == b"x" * 3_000_000
    with pytest.raises(ClickHouseError) as error:
        _decoded("snappy", b"x")
    assert error.value.code == 48
    with pytest.raises(ClickHouseError) as error:
        _decoded("gzip", b"not gzip at all")
    assert error.value.code == 271


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(parts=st.lists(st.binary(max_size=500), max_size=5))
def test_answers_decode_to_what_was_fed(encoding: str, parts: list[bytes]) -> None:
    encoder = Encoder(encoding)
    body = b"".join(encoder.feed(part) for part in parts) + encoder.end()
    assert _decoded(encoding, body) == b"".join(parts)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", None),
        ("br", None),
        ("gzip", "gzip"),
        ("br, zstd;q=0.5, gzip", "zstd"),
        ("gzip;q=0, lz4", "lz4"),
        ("*", None),
    ],
)
def test_the_first_known_encoding_is_taken(accept: str, chosen: str | None) -> None:
    assert choose(accept) == chosen
