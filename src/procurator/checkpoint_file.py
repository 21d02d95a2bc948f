"""IO: the append-only file of signed checkpoints: one note after the other, each followed by an empty line.

A note has exactly one empty line in it, so a file of notes reads back without any other framing.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from procurator.errors import Fatal
from procurator.private_files import sync_folder

#: A checkpoint of ours has some 200 bytes; more than this between empty lines is no checkpoint.
BLOCK_BYTES_MAX = 1_000_000


def append_checkpoint(path: Path, note: bytes) -> None:
    """Append a note and make it durable."""
    existed = path.exists()
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, note + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if not existed:
        sync_folder(path.parent)


def read_checkpoints(path: Path) -> Iterator[bytes]:
    """Yield the notes of a file in its order; a torn one at the end is left out. Raises Fatal for no such file.

    Every other kind of damage is in what is yielded: notes are judged by whoever opens them.
    """
    text: bytes | None = None
    for _, block in _blocks(path):
        if text is None:
            text = block
        else:
            yield text + block[:-1]
            text = None


def last_checkpoint(path: Path) -> bytes | None:
    """Return the last whole note of a file, None when it has none or is not there."""
    if not path.exists():
        return None
    last = None
    for last in read_checkpoints(path):  # noqa: B007 - the last one is what is wanted
        pass
    return last


def drop_torn_tail(path: Path) -> int:
    """Cut off what a crash left of a note at the end of the file; return how many bytes."""
    if not path.exists():
        return 0
    whole = 0
    for number, (end, _) in enumerate(_blocks(path)):
        if number % 2:
            whole = end
    torn = path.stat().st_size - whole
    if torn:
        os.truncate(path, whole)
    return torn


def _blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each run of lines with the empty line that ends it, and the file's length up to there."""
    lines: list[bytes] = []
    length = size = 0
    with path.open("rb") as file:
        while line := file.readline(BLOCK_BYTES_MAX):
            lines.append(line)
            length += len(line)
            size += len(line)
            if length > BLOCK_BYTES_MAX:
                raise Fatal(f"{path} is no file of checkpoints: no empty line before byte {size}")
            if line == b"\n":
                yield size, b"".join(lines)
                lines, length = [], 0
