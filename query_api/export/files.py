"""IO: one file of an export: written beside its place, counted and digested on the way, then moved there."""

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet

from procurator.private_files import sync_folder
from procurator.query_api.export.job import ExportFile


def write_file(folder: Path, name: str, pieces: Iterable[bytes]) -> ExportFile:
    """Write a file whole and durably; one of the same name is replaced. An error leaves a ``.part``, nothing else."""
    partial, path = folder / f"{name}.part", folder / name
    digest, size, lines = sha256(), 0, 0
    descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            size += len(piece)
            lines += piece.count(b"\n")
        file.flush()
        os.fsync(descriptor)
    rows = pyarrow.parquet.read_metadata(partial).num_rows if name.endswith(".parquet") else lines
    os.replace(partial, path)
    sync_folder(folder)
    return ExportFile(name=name, rows=rows, bytes=size, sha256=digest.hexdigest())
