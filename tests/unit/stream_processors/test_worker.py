"""Which partitions a worker opens: opening one fences whoever else has it."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from procurator.registry import Registry
from procurator.stream_processors.transport import Batch
from procurator.stream_processors.worker import Worker


async def test_what_is_left_of_a_lost_partition_does_not_take_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group's client says which partitions it had until it has been given others."""
    registry, prices = Registry("http://127.0.0.1:9"), Any
    worker = Worker(
        bootstrap_servers="127.0.0.1:9",
        group_id="workers",
        topic="events",
        topic_id=str(UUID(int=1)),
        partitions=2,
        state_topic="states",
        registry=registry,
        prices=prices,  # type: ignore[arg-type]
        state_schema_id=1,
        folder=tmp_path,
    )
    worker.assigned = lambda: [0, 1]
    opened: list[int] = []

    async def opening(partition: int) -> None:
        opened.append(partition)

    monkeypatch.setattr(worker, "_open", opening)
    await worker.process(Batch(0, [], None))
    assert opened == [0, 1]
    worker.release({0, 1})
    await worker.process(Batch(0, [], None))
    await worker.open_all()
    assert opened == [0, 1]
    worker.grant()
    await worker.process(Batch(1, [], None))
    assert opened == [0, 1, 0, 1]
    worker.close()
    registry.close()
