"""How fast one core hashes ledger entries into leaves and leaves into a tree, and checks proofs and checkpoints.

Pure: entries are made up in memory, sized as recorded events are (0.5 to 1.5 kB). The peer is RFC 9162's recursion
written down as it stands, over leaf data made one by one: what a verifier does that keeps to the text.
Time is processor time, since the figure is a core's and the machine may be busy.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Any

from procurator.bench import rederive
from procurator.bench.machine import machine, versions
from procurator.checkpoint import Checkpoint, Signer, open_checkpoint, sign_checkpoint
from procurator.leaf import entry_leaf_hash, leaf_hashes, log_id
from procurator.merkle import Accumulator, inclusion_proof, node_hash, verify_inclusion

VALUE_BYTES = (500, 1500)
BATCH_ROWS = 10_000  # about what the sink takes at once
ROUNDS = 5
CHECKS = 500
REDERIVED_MAX = 50_000


@dataclass(frozen=True, slots=True)
class Entries:
    """The columns of one log, from offset 0 on without holes."""

    log: str
    keys: list[bytes | None]
    values: list[bytes | None]

    def leaf_hashes(self, start: int, end: int) -> list[bytes]:
        """The leaf hashes of entries ``[start, end)``, as the sink computes them."""
        places = range(start, end)
        return leaf_hashes(self.log, start, places, places, self.keys[start:end], self.values[start:end])


def run(entries: int = 100_000, seed: int = 0) -> dict[str, Any]:
    """Measures ``entries`` made-up entries, ``ROUNDS`` times; the median counts. Rates are per second and core."""
    made = _make(entries, seed)
    starts = range(0, entries, BATCH_ROWS)
    hashes = made.leaf_hashes(0, entries)
    root = _tree(made, starts)
    if root != _recursive_root(hashes):
        raise AssertionError("the accumulator and the recursion disagree")  # a fast wrong tree is worth nothing
    ours = _rate(entries, lambda: _tree(made, starts))
    theirs = _rate(entries, lambda: _recursive_root(_one_by_one(made)))
    proof = inclusion_proof(hashes, entries // 3)
    signer = Signer("bench.example", bytes(32))
    note = sign_checkpoint(Checkpoint("bench.example", entries, root), signer)
    return {
        "bench": "verify",
        "events_per_s": ours,
        "entries": entries,
        "value_bytes": list(VALUE_BYTES),
        "leaf_hashes_per_s": _rate(entries, lambda: made.leaf_hashes(0, entries)),
        "tree_leaves_per_s": _rate(entries, lambda: Accumulator().extend(hashes)),
        "rederived_entries_per_s": rederive.rate(min(entries, REDERIVED_MAX), seed),
        "inclusion_proofs_verified_per_s": _rate(
            CHECKS, lambda: _repeat(lambda: verify_inclusion(hashes[entries // 3], entries // 3, entries, proof, root))
        ),
        "checkpoints_verified_per_s": _rate(
            CHECKS, lambda: _repeat(lambda: open_checkpoint(note, "bench.example", [signer.verifier]))
        ),
        "peer": {"name": "RFC 9162's recursion, entry by entry", "events_per_s": theirs},
        "ratio": round(ours / theirs, 2),
        "machine": machine(),
        "versions": versions(),
    }


def _make(entries: int, seed: int) -> Entries:
    chance = random.Random(seed)
    values: list[bytes | None] = [chance.randbytes(chance.randint(*VALUE_BYTES)) for _ in range(entries)]
    keys: list[bytes | None] = [chance.randbytes(18).hex().encode() for _ in range(entries)]  # a UUID's length
    return Entries(log_id("00000000-0000-4000-8000-000000000000", 0), keys, values)


def _tree(entries: Entries, starts: range) -> bytes:
    accumulator = Accumulator()
    for start in starts:
        accumulator.extend(entries.leaf_hashes(start, min(start + starts.step, starts.stop)))
    return accumulator.root()


def _one_by_one(entries: Entries) -> list[bytes]:
    return [
        entry_leaf_hash(entries.log, place, place, place, key, value)
        for place, (key, value) in enumerate(zip(entries.keys, entries.values, strict=True))
    ]


def _recursive_root(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node_hash(_recursive_root(hashes[:split]), _recursive_root(hashes[split:]))


def _repeat(check: Callable[[], object]) -> None:
    for _ in range(CHECKS):
        check()


def _rate(units: int, work: Callable[[], object]) -> int:
    """Units a second of processor time."""
    seconds = []
    for _ in range(ROUNDS):
        started = process_time()
        work()
        seconds.append(process_time() - started)
    return round(units / median(seconds))
