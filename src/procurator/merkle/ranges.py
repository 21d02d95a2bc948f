"""Which leaf ranges a proof is made of.

Every proof is a list of roots of leaf ranges, and these functions name the ranges without seeing a hash: whoever
keeps subtree roots in a table can answer from it. A range of ``n > 1`` leaves splits after the largest power of
two below ``n`` (RFC 9162, 2.1.1).
"""

from bisect import bisect_left
from collections.abc import Iterable

from procurator.merkle.arguments import ProofError, check_index, check_indices, check_ints, check_sizes, is_size

LeafRange = tuple[int, int]  # [start, end)


def inclusion_ranges(index: int, size: int) -> list[LeafRange]:
    """The leaf ranges whose roots make the inclusion proof of ``index``, in the proof's order."""
    check_index(index, size)
    ranges = []
    start, end = 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(size1: int, size2: int) -> list[LeafRange]:
    """The leaf ranges whose roots make the consistency proof of two sizes, in the proof's order.

    ``size1 = 0`` is refused, as by RFC 9162 (0 < m) and transparency-dev/merkle: every tree extends the empty
    one, so that such a proof would say nothing.
    """
    check_sizes(size1, size2)
    ranges = []
    start, end = 0, size2
    while end != size1:
        middle = start + split(end - start)
        if size1 <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start > 0:  # else the last range is the whole old tree, whose root the verifier has
        ranges.append((start, end))
    return ranges[::-1]


def multiproof_ranges(indices: Iterable[int], size: int) -> list[LeafRange]:
    """The leaf ranges whose roots make the multiproof of ``indices`` (at least one; in any order)."""
    wanted = sorted(set(check_ints("indices", indices)))
    check_indices(wanted, size)
    ranges: list[LeafRange] = []

    def visit(start: int, end: int, first: int, last: int) -> None:
        if first == last:
            ranges.append((start, end))
        elif last - first < end - start:
            middle = start + split(end - start)
            cut = bisect_left(wanted, middle, first, last)
            visit(start, middle, first, cut)
            visit(middle, end, cut, last)

    visit(0, size, 0, len(wanted))
    return ranges


def perfect_ranges(start: int, end: int) -> list[LeafRange]:
    """The fewest perfect subtrees (2^k leaves, aligned to 2^k) that cover ``[start, end)``, left to right.

    Their roots are what must be kept of a range that is purged: ``Accumulator.append_subtree`` takes them in
    place of the leaves. At most ``2 * log2(end)`` of them.
    """
    if not is_size(start) or not is_size(end) or start > end:
        raise ProofError("a leaf range needs 0 <= start <= end <= 2^63 - 1")
    ranges = []
    while start < end:
        fits = (end - start).bit_length() - 1
        aligned = (start & -start).bit_length() - 1 if start else fits
        width = 1 << min(fits, aligned)
        ranges.append((start, start + width))
        start += width
    return ranges


def split(width: int) -> int:
    """The largest power of two below ``width`` (RFC 9162, 2.1.1)."""
    return 1 << (width - 1).bit_length() - 1
