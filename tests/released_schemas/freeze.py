"""Copy the schemas of a release here: ``python tests/released_schemas/freeze.py 0.2.0``.

Only those that differ from their newest copy are copied, so a schema that stays the same has one copy. Copies are
never edited: topics are full of records that were written with them.
"""

import sys
from pathlib import Path

RELEASES = Path(__file__).parent
CURRENT = RELEASES.parents[1] / "avro_schemas"


def copies(stem: str) -> list[Path]:
    """Return the released copies of a schema, oldest first."""
    return sorted(RELEASES.glob(f"*/{stem}.avsc"), key=lambda path: [int(n) for n in path.parent.name.split(".")])


def freeze(version: str) -> list[str]:
    """Copy what has changed since the last release and return the names of the schemas."""
    folder = RELEASES / version
    changed = []
    for current in sorted(CURRENT.glob("*.avsc")):
        earlier = [path for path in copies(current.stem) if path.parent != folder]
        if not earlier or earlier[-1].read_bytes() != current.read_bytes():
            folder.mkdir(exist_ok=True)
            (folder / current.name).write_bytes(current.read_bytes())
            changed.append(current.stem)
    return changed


if __name__ == "__main__":
    sys.stdout.write("".join(f"{stem}\n" for stem in freeze(sys.argv[1])))
