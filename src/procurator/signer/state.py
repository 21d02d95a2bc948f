"""What the signer must not forget: the trees as of the last checkpoint. Pure; `files` keeps it.

The state holds the logs' frontiers at the last signed epoch, and the control log's frontier *before* the entries of
that epoch: a restart reads the epoch and the checkpoint over it again, so that both check the state.
``intent`` names the entries that are about to be written: if the process dies before it has signed them, they are
told from a stranger's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from procurator.errors import Fatal
from procurator.merkle import Accumulator, ProofError
from procurator.signer.trees import LogTree

VERSION = 1


@dataclass(frozen=True)
class LogState:
    """One tree. ``root`` is redundant: it shows whether the frontier has been damaged."""

    topic: str
    size: int
    next_offset: int
    frontier: tuple[bytes, ...]
    root: bytes

    @classmethod
    def of(cls, tree: LogTree) -> Self:
        """Return the state of a tree."""
        return cls(tree.topic, tree.size, tree.next_offset, tuple(tree.frontier), tree.head.root)

    def tree(self, log_id: str) -> LogTree:
        """Return the tree. Raises Fatal when root and frontier disagree."""
        try:
            accumulator = Accumulator.from_frontier(self.size, self.frontier)
        except ProofError as error:
            raise Fatal(f"the signer's state of log {log_id} is damaged: {error}") from None
        if accumulator.root() != self.root:
            raise Fatal(f"the signer's state of log {log_id} is damaged: its root does not fit its frontier")
        return LogTree(log_id, self.topic, accumulator, self.next_offset)


@dataclass(frozen=True)
class SignerState:
    """Everything at one moment. ``checkpoint`` is the last signed note, empty before the first."""

    origin: str
    logs: Mapping[str, LogState]
    control: LogState
    checkpoint: bytes = b""
    schema_ids: frozenset[int] = frozenset()
    verifier_keys: tuple[str, ...] = ()
    intent: frozenset[str] = field(default_factory=frozenset)
    #: Schema ids that records name and the registry did not have.
    unknown_ids: frozenset[int] = frozenset()


def render(state: SignerState) -> str:
    """Return the state as JSON text."""
    return json.dumps(
        {
            "version": VERSION,
            "origin": state.origin,
            "logs": {log_id: _render_log(log) for log_id, log in sorted(state.logs.items())},
            "control": _render_log(state.control),
            "checkpoint": state.checkpoint.decode(),
            "schema_ids": sorted(state.schema_ids),
            "verifier_keys": list(state.verifier_keys),
            "intent": sorted(state.intent),
            "unknown_ids": sorted(state.unknown_ids),
        },
        indent=1,
    )


def parse(text: str, where: str) -> SignerState:
    """Return the state in a file's text. Raises Fatal naming the file when it is not one."""
    try:
        stored = json.loads(text)
        if stored["version"] != VERSION:
            raise Fatal(f"{where}: version {stored['version']} of the signer's state; this version reads {VERSION}")
        return SignerState(
            origin=str(stored["origin"]),
            logs={str(log_id): _parse_log(log) for log_id, log in stored["logs"].items()},
            control=_parse_log(stored["control"]),
            checkpoint=stored["checkpoint"].encode(),
            schema_ids=frozenset(map(int, stored["schema_ids"])),
            verifier_keys=tuple(map(str, stored["verifier_keys"])),
            intent=frozenset(map(str, stored["intent"])),
            unknown_ids=frozenset(map(int, stored.get("unknown_ids", ()))),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Fatal(f"{where} is damaged ({type(error).__name__}: {error}): restore it from a backup") from None


def _render_log(log: LogState) -> dict[str, Any]:
    frontier = [node.hex() for node in log.frontier]
    return {
        "topic": log.topic,
        "size": log.size,
        "next_offset": log.next_offset,
        "root": log.root.hex(),
        "frontier": frontier,
    }


def _parse_log(stored: Mapping[str, Any]) -> LogState:
    frontier = tuple(bytes.fromhex(node) for node in stored["frontier"])
    root = bytes.fromhex(stored["root"])
    return LogState(str(stored["topic"]), int(stored["size"]), int(stored["next_offset"]), frontier, root)
