"""IO: files that survive a crash: written whole or not at all, readable by their owner alone."""

import os
from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file's contents; after a crash either the old or the new is there."""
    partial = path.with_name(f"{path.name}.part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.replace(partial, path)
    sync_folder(path.parent)


def create_file(path: Path, data: bytes) -> bool:
    """Create a file unless it exists; return whether it was created. Two processes never both create it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    replace_file(partial, data)
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make the folder's own entries durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
