"""How far the ledger was verified, as a file keeps it, so that the next verification goes on from there. Pure.

What lies before is not read again: an edit of it stays unseen until the next full verification. The checkpoint that
is kept with it is an anchor: a ledger that does not continue it is found.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from procurator.errors import UserError
from procurator.merkle import Accumulator, ProofError

VERSION = 1


@dataclass(frozen=True)
class LogPosition:
    """One log: the tree's size and frontier, the last offset seen, and below which leaf the entries were verified."""

    size: int = 0
    frontier: tuple[bytes, ...] = ()
    last_offset: int = -1
    verified_to: int = 0

    def tree(self) -> Accumulator:
        """Return the tree as it stood."""
        return Accumulator.from_frontier(self.size, self.frontier)


@dataclass(frozen=True)
class Position:
    """All logs at one epoch. ``control_size``: leaves of the control log that it covers."""

    origin: str
    control_size: int = 0
    checkpoint: bytes = b""
    logs: Mapping[str, LogPosition] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Return below which leaf each log's entries were verified."""
        return {log_id: log.verified_to for log_id, log in self.logs.items()}

    def render(self) -> str:
        """Return the position as JSON text."""
        logs = {
            log_id: {
                "size": log.size,
                "frontier": [node.hex() for node in log.frontier],
                "last_offset": log.last_offset,
                "verified_to": log.verified_to,
            }
            for log_id, log in sorted(self.logs.items())
        }
        kept = {"version": VERSION, "origin": self.origin, "control_size": self.control_size}
        return json.dumps({**kept, "checkpoint": self.checkpoint.decode(), "logs": logs}, indent=1)

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """Return the position in a file's text. Raises UserError naming the file when it is none."""
        try:
            stored = json.loads(text)
            if stored["version"] != VERSION:
                raise UserError(f"{where} is of version {stored['version']}: start over with --full")
            logs = {str(log_id): _log(log) for log_id, log in stored["logs"].items()}
            checkpoint = stored["checkpoint"].encode()
            return cls(str(stored["origin"]), int(stored["control_size"]), checkpoint, logs)
        except (ValueError, KeyError, TypeError, AttributeError, ProofError) as error:
            raise UserError(f"{where} is damaged ({type(error).__name__}: {error}): start over with --full") from None


def _log(stored: Mapping[str, Any]) -> LogPosition:
    frontier = tuple(bytes.fromhex(node) for node in stored["frontier"])
    position = LogPosition(int(stored["size"]), frontier, int(stored["last_offset"]), int(stored["verified_to"]))
    position.tree()
    return position
