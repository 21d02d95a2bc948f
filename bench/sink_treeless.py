"""``python -m procurator.bench.sink_treeless sink``: the sink without leaf hashes and trees, to tell what they cost.

A measurement's tool: what it writes is no ledger. In the place of a leaf's hash stand random bytes made beforehand, so
that what is inserted weighs the same.
"""

import random
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

from procurator.cli import main
from procurator.merkle import HASH_BYTES
from procurator.sink import blocks
from procurator.sink.ledger import Head

_NOTHING = bytes(HASH_BYTES)
_RANDOM = [random.Random(n).randbytes(HASH_BYTES) for n in range(10_007)]


def _no_hashes(_log_id: str, _first: int, offsets: Sequence[int], *_columns: Any) -> list[bytes]:
    return list(islice(cycle(_RANDOM), len(offsets)))


def _extended(self: Head, leaf_hashes: Sequence[bytes], next_offset: int) -> Head:
    size = self.size + len(leaf_hashes)
    return Head(self.log_id, next_offset, size, (_NOTHING,) * size.bit_count())


if __name__ == "__main__":
    vars(blocks)["leaf_hashes"] = _no_hashes
    Head.extended = _extended  # type: ignore[method-assign]
    main()
