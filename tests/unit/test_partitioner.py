"""`procurator.partitioner` against the vectors of Kafka's own UtilsTest."""

import pytest

from procurator.partitioner import murmur2, partition_of


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF


def test_a_key_has_one_partition_within_range() -> None:
    partitions = {partition_of(f"key-{n}", 7) for n in range(200)}
    assert partitions == set(range(7))
    assert partition_of("21", 7) == (-973932308 & 0x7FFFFFFF) % 7
