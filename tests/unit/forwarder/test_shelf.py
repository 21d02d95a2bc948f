"""What lies ready for an endpoint: nothing is passed over, whatever comes meanwhile."""

import asyncio
from typing import cast

import pytest

from procurator.forwarder.entries import Entry
from procurator.forwarder.history import History
from procurator.forwarder.shelf import Shelf
from procurator.forwarder.window import Chunk, Window
from procurator.webhooks.endpoint import Subject

SUBJECT = Subject("TurnRecorded", "acme", "t", "a")


def entry(log_id: str, offset: int) -> Entry:
    return Entry(log_id, offset, 0, 10, SUBJECT, dict)


class Past:
    """History that answers only after the window has gone on."""

    def __init__(self, window: Window) -> None:
        self.window = window

    async def chunk(self, log_id: str, position: int) -> Chunk:
        for offset in range(2, 9):
            self.window.add("b", [entry("b", offset)], offset + 1)
        found = Chunk(position)
        found.add([entry(log_id, position)], position + 1)
        return found


def test_what_the_window_lets_go_of_meanwhile_is_read_again() -> None:
    window = Window({"a": 5, "b": 0}, bytes_max=20)
    window.add("b", [entry("b", 0), entry("b", 1)], 2)
    shelf = Shelf(window, cast(History, Past(window)))
    chunks = asyncio.run(shelf.near({"a": 0, "b": 0}))
    assert window.chunks["b"].start > 0
    assert list(chunks) == ["a"]


def test_a_chunk_does_not_pass_over_what_it_has_not() -> None:
    chunk = Chunk(5)
    with pytest.raises(ValueError, match="begins at 5"):
        chunk.since(4, 10)
