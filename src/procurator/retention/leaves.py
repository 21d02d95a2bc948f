"""Leaves that are about to go: their ranges, and the hashes that must be kept of them. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from procurator.merkle import perfect_ranges, root_hash


class Leaf(NamedTuple):
    """One leaf of a log. ``erased``: its bytes are gone already."""

    log_id: str
    leaf_index: int
    leaf_hash: bytes
    session_id: str
    erased: bool


def ranges_of(places: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    """Return (log id, leaf index) pairs, ascending, as ranges of consecutive leaves: ``LeafRange`` records."""
    ranges: list[dict[str, Any]] = []
    for log_id, index in places:
        last = ranges[-1] if ranges else None
        if last and last["log_id"] == log_id and last["first_leaf"] + last["leaf_count"] == index:
            last["leaf_count"] += 1
        else:
            ranges.append({"log_id": log_id, "first_leaf": index, "leaf_count": 1})
    return ranges


def indexes(leaf_range: Mapping[str, Any]) -> range:
    """Return the leaf indexes of a ``LeafRange`` record."""
    return range(leaf_range["first_leaf"], leaf_range["first_leaf"] + leaf_range["leaf_count"])


def retained_hashes(ranges: Iterable[Mapping[str, Any]], hashes: Mapping[tuple[str, int], bytes]) -> list[bytes]:
    """Return the roots of the ranges' perfect subtrees, left to right, range by range."""
    return [
        root_hash([hashes[each["log_id"], index] for index in range(start, end)])
        for each in ranges
        for start, end in perfect_ranges(indexes(each).start, indexes(each).stop)
    ]
