"""What the embedded stack downloads: ``jars.lock``, parsed. Pure but for reading that file once.

One line an artifact: ``part group:artifact:version[:classifier]:type size sha256``. The lock names no host;
the base address is given when downloading. ``procurator.deploy.embedded.relock`` writes it.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from procurator.errors import Fatal

LOCK = Path(__file__).with_name("jars.lock")


@dataclass(frozen=True)
class Artifact:
    """One file of a Maven repository, with what it must be: ``size`` in bytes, ``sha256`` in hex."""

    part: str
    group: str
    name: str
    version: str
    classifier: str
    type: str
    size: int
    sha256: str

    @property
    def path(self) -> str:
        """Where it lies below the base address, and below the cache: ``org/apache/…/x-1.0.jar``."""
        suffix = f"-{self.classifier}" if self.classifier else ""
        folder = "/".join((*self.group.split("."), self.name, self.version))
        return f"{folder}/{self.name}-{self.version}{suffix}.{self.type}"

    @property
    def line(self) -> str:
        """This artifact as a line of the lock."""
        fields = (self.group, self.name, self.version, self.classifier, self.type)
        return f"{self.part} {':'.join(f for f in fields if f)} {self.size} {self.sha256}"


def parse_line(line: str) -> Artifact:
    """Return the artifact of one line of the lock; Fatal if the line is damaged."""
    try:
        part, coordinate, size, sha256 = line.split()
        group, name, version, *classifier, type_ = coordinate.split(":")
        artifact = Artifact(part, group, name, version, "".join(classifier), type_, int(size), sha256)
        sound = artifact.line == line.strip() and len(bytes.fromhex(sha256)) == 32
    except ValueError:
        sound = False
    if not sound:
        raise Fatal(f"jars.lock is damaged at {line!r}; install procurator-ledger again")
    return artifact


@lru_cache(maxsize=1)
def locked() -> tuple[Artifact, ...]:
    """Return every artifact of the committed lock, in its order."""
    lines = LOCK.read_text(encoding="ascii").splitlines()
    return tuple(parse_line(line) for line in lines if line and not line.startswith("#"))


def of_part(part: str) -> tuple[Artifact, ...]:
    """Return the artifacts of one part, ``kafka`` or ``registry``."""
    return tuple(artifact for artifact in locked() if artifact.part == part)
