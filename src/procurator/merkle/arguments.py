"""What may be passed in: every argument of this package is judged here, and refused with ``ProofError`` alone.

Arguments come from files and strangers. Exact types, since a subclass may do anything when it is compared;
numbers are judged before they are printed, since Python refuses to print one of 5,000 digits.
"""

from itertools import pairwise
from typing import Any

from procurator.errors import ProcuratorError

HASH_BYTES = 32
SIZE_MAX = 2**63 - 1  # Kafka offsets are int64, so no log can hold more entries


class ProofError(ProcuratorError):
    """A proof, frontier or tree argument that is malformed or does not verify. Nothing was changed."""


def is_size(value: object) -> bool:
    return type(value) is int and 0 <= value <= SIZE_MAX


def check_index(index: int, size: int) -> None:
    if not is_size(index) or not is_size(size):
        raise ProofError("leaf index and tree size must be integers from 0 to 2^63 - 1")
    if index >= size:
        raise ProofError(f"leaf index {index} is not in a tree of {size} leaves")


def check_indices(indices: list[int], size: int) -> None:
    if not indices:
        raise ProofError("a multiproof needs at least one index")
    for index in indices:
        check_index(index, size)
    if any(left >= right for left, right in pairwise(indices)):
        raise ProofError("indices must be strictly increasing")


def check_sizes(size1: int, size2: int) -> None:
    if not is_size(size1) or not is_size(size2):
        raise ProofError("tree sizes must be integers from 0 to 2^63 - 1")
    if size1 == 0:
        raise ProofError("consistency with an empty tree proves nothing")
    if size1 > size2:
        raise ProofError(f"first tree ({size1} leaves) is larger than the second ({size2})")


def check_ints(what: str, value: Any) -> list[int]:
    if type(value) not in (list, tuple, set, frozenset, range) or set(map(type, value)) - {int}:
        raise ProofError(f"{what} must be a list of integers")
    return list(value)


def check_hashes(what: str, value: Any) -> list[bytes]:
    if type(value) not in (list, tuple) or set(map(type, value)) - {bytes} or set(map(len, value)) - {HASH_BYTES}:
        raise ProofError(f"{what} must be a list of {HASH_BYTES}-byte strings")
    return value if type(value) is list else list(value)


def check_hash(what: str, value: Any) -> bytes:
    if type(value) is not bytes or len(value) != HASH_BYTES:
        raise ProofError(f"{what} must be {HASH_BYTES} bytes")
    return value


def check_proof(value: object, length: int) -> list[bytes]:
    path = check_hashes("proof", value)
    if len(path) != length:
        raise ProofError(f"proof has {len(path)} hashes, not {length}")
    return path


def check_match(what: str, computed: bytes, claimed: object) -> None:
    if type(claimed) is not bytes or claimed != computed:
        raise ProofError(f"{what} does not match the proof")
