"""A digest of a set of leaves that does not depend on their order. Pure.

The ledger is read twice: leaf hashes in the order of the log, to build the tree, and whole entries in the order of the
table, to derive them again. This digest ties the two readings together, so that a server cannot show the right
hashes to one and altered entries to the other. It is AdHash (Bellare and Micciancio, 1997) with a modulus of 2^2048,
wide enough that Wagner's generalized birthday attack (2002) on a million entries costs about 2^97.
"""

from collections.abc import Iterable
from hashlib import shake_256
from struct import Struct

_BYTES = 256
_MODULUS = 1 << 8 * _BYTES
_PLACE = Struct(">QQ")


class LeafSet:
    """The sum over (leaf index, offset, leaf hash) of one log, modulo 2^2048."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0

    def add(self, leaves: Iterable[tuple[int, int, bytes]]) -> None:
        """Add leaves: index, offset, hash."""
        pack = _PLACE.pack
        self.total = (
            self.total
            + sum(
                int.from_bytes(shake_256(pack(index, offset) + leaf_hash).digest(_BYTES), "little")
                for index, offset, leaf_hash in leaves
            )
        ) % _MODULUS

    def since(self, total: int) -> int:
        """Return the sum of what was added since ``total``."""
        return (self.total - total) % _MODULUS
