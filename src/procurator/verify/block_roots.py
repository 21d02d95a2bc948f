"""The roots of whole blocks of leaves, as ClickHouse computes them from its own tables. Pure.

RFC 6962's inner nodes level by level: hashing ten million leaves there, on all cores, moves 32 bytes for 1,024 of them.
"""

from procurator.tree_blocks import BLOCK_LEAVES

#: Offsets that one statement looks at: bounds its memory to some hundred megabytes.
SPAN_OFFSETS = 2**19


def block_roots_sql(table: str) -> str:
    """Return the statement over a log's offsets [first, end): rows of block number, last offset and root, ascending.

    A block is among them if the span has each of its leaves once.
    """
    levels = BLOCK_LEAVES.bit_length() - 1
    nodes = ",\n  ".join(
        f"arrayMap(i -> SHA256(concat('\\x01', nodes_{level}[2 * i - 1], nodes_{level}[2 * i])),"
        f" range(1, {(BLOCK_LEAVES >> level + 1) + 1})) AS nodes_{level + 1}"
        for level in range(levels)
    )
    return (
        f"SELECT block, last_offset, nodes_{levels}[1] AS root FROM (SELECT\n"
        f"  intDiv(leaf_index, {BLOCK_LEAVES}) AS block, max(offset) AS last_offset,\n"
        "  arrayMap(leaf -> leaf.2, arraySort(groupArray((leaf_index, leaf_hash)))) AS nodes_0,\n"
        f"  {nodes}\n"
        f"  FROM {table} WHERE log_id = {{log_id:String}} AND offset >= {{first:UInt64}} AND offset < {{end:UInt64}}\n"
        f"  GROUP BY block HAVING count() = {BLOCK_LEAVES} AND uniqExact(leaf_index) = {BLOCK_LEAVES}\n"
        ") ORDER BY block"
    )
