"""Block roots that ClickHouse computes are those of the leaves, and proofs made of them verify."""

from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest

from procurator.errors import Unavailable
from procurator.merkle import inclusion_ranges, root_hash, verify_inclusion
from procurator.tree_blocks import BLOCK_LEAVES, NOTHING_RETAINED
from procurator.verify.blocks import BlockCache
from procurator.verify.source import LedgerSource

_BLOCKS = 20
_SIZE = _BLOCKS * BLOCK_LEAVES + 77
_LEAVES = [sha256(str(number).encode()).digest() for number in range(_SIZE)]
#: Offsets have holes.
_FILL = """
INSERT INTO events (log_id, offset, leaf_index, leaf_hash, broker_time, session_id, kind)
SELECT {log:String}, number * 3, number, SHA256(toString(number)), now64(6), generateUUIDv4(number), 'Heartbeat'
FROM numbers({size:UInt64}) WHERE number != {without:UInt64}
"""


def _log(ledger: Any, without: int = _SIZE) -> str:
    log = f"{uuid4()}:0"
    ledger.clickhouse.execute(_FILL, {"log": log, "size": _SIZE, "without": without})
    return log


def test_the_servers_roots_are_those_of_the_leaves(ledger: Any) -> None:
    source, log = LedgerSource(ledger.clickhouse), _log(ledger)
    roots = source.block_roots("events", log, 0)
    assert [number for number, _, _ in roots] == [*range(_BLOCKS)]
    for number, last_offset, root in roots:
        end = (number + 1) * BLOCK_LEAVES
        assert (last_offset, root) == ((end - 1) * 3, root_hash(_LEAVES[end - BLOCK_LEAVES : end]))
    assert [number for number, _, _ in source.block_roots("events", log, 1)] == [*range(1, _BLOCKS)]


def test_a_proof_made_of_them_verifies(ledger: Any) -> None:
    log, root = _log(ledger), root_hash(_LEAVES)
    blocks = BlockCache(LedgerSource(ledger.clickhouse), lambda _: NOTHING_RETAINED)
    for index in (0, 5 * BLOCK_LEAVES, 12_345, _SIZE - 1):
        nodes = blocks.proof("events", log, inclusion_ranges(index, _SIZE), _SIZE)
        verify_inclusion(_LEAVES[index], index, _SIZE, nodes, root)


def test_a_leaf_that_is_not_there_is_missed(ledger: Any) -> None:
    log = _log(ledger, without=3 * BLOCK_LEAVES + 5)
    blocks = BlockCache(LedgerSource(ledger.clickhouse), lambda _: NOTHING_RETAINED)
    with pytest.raises(Unavailable, match=f"leaf {3 * BLOCK_LEAVES + 5}"):
        blocks.proof("events", log, inclusion_ranges(0, _SIZE), _SIZE)
