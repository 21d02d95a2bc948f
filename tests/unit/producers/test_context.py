"""The current session follows the code: through tasks and threads, into tools, and to agents elsewhere."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from procurator.errors import UserError
from procurator.events import kind_of
from procurator.producers import Procurator, carry, current_session, extract, inject, tool
from procurator.producers.memory import MemoryTransport


class Lab:
    def __init__(self) -> None:
        self.transport = MemoryTransport()
        self.procurator = Procurator(transport=self.transport, environment={})

    def payloads(self, kind: str) -> list[dict[str, Any]]:
        return [event["payload"][1] for event in self.transport.events if kind_of(event) == kind]


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    with lab.procurator:
        yield lab


def test_the_innermost_block_is_current_and_the_outer_one_again_after_it(lab: Lab) -> None:
    assert current_session() is None
    with lab.procurator.session() as outer:
        with lab.procurator.session() as inner:
            assert current_session() is inner
        assert current_session() is outer
    assert current_session() is None


async def test_tasks_have_their_own(lab: Lab) -> None:
    async def agent() -> bool:
        async with lab.procurator.session() as session:
            await asyncio.sleep(0)
            in_thread = await asyncio.to_thread(current_session)
            return current_session() is session and in_thread is session

    assert await asyncio.gather(*(agent() for _ in range(5))) == [True] * 5
    assert current_session() is None


def test_threads_carry_it_when_they_are_told_to(lab: Lab) -> None:
    with ThreadPoolExecutor(4) as pool, lab.procurator.session() as session:
        assert pool.submit(current_session).result() is None
        work = carry(current_session)
        assert {found.result() for found in [pool.submit(work) for _ in range(20)]} == {session}


def test_a_generator_left_in_another_context_does_not_hide_the_error(lab: Lab) -> None:
    async def stream() -> AsyncGenerator[int, None]:
        async with lab.procurator.session():
            yield 1

    async def run() -> None:
        generator = stream()
        await asyncio.create_task(generator.__anext__())
        await generator.aclose()

    asyncio.run(run())
    assert lab.payloads("SessionEnded")[0]["status"] in ("COMPLETED", "FAILED")


def test_a_parent_travels_in_headers_and_metadata(lab: Lab) -> None:
    headers: dict[str, Any] = {}
    inject(headers)
    assert headers == {}
    with lab.procurator.session() as parent:
        inject(headers)
        metadata: dict[str, Any] = {}
        inject(metadata, parent)
    assert extract(headers) == extract(metadata) == parent.session_id
    as_asgi = [(b"accept", b"*/*"), (b"Procurator-Parent-Session", parent.session_id.upper().encode())]
    assert extract(as_asgi) == parent.session_id
    with lab.procurator.session(parent_session_id=extract(headers)):
        pass
    child = lab.payloads("SessionStarted")[1]
    assert (child["parent_session_id"], child["origin"]) == (parent.session_id, "A2A")


@pytest.mark.parametrize("carrier", [{}, {"procurator-parent-session": "'; DROP"}, {"procurator-parent-session": None}])
def test_what_comes_over_the_network_is_a_parent_or_nothing(carrier: dict[str, Any]) -> None:
    assert extract(carrier) is None


def test_a_decorated_function_records_its_calls(lab: Lab) -> None:
    with lab.procurator.session() as session:

        @session.tool
        def add(a: int, b: int = 2) -> int:
            """Add."""
            return a + b

        @session.tool(name="search", mcp_server_id="web", timeout_ms=500)
        async def look_up(query: str, *, limit: int = 5) -> list[str]:
            await asyncio.sleep(0)
            return [query] * limit

        assert (add(1), add.__doc__) == (3, "Add.")
        assert asyncio.run(look_up("x", limit=2)) == ["x", "x"]
        with pytest.raises(TypeError, match="missing 1 required"):
            add()  # type: ignore[call-arg]
    started, completed = lab.payloads("ToolCallStarted"), lab.payloads("ToolCallCompleted")
    assert [(call["tool_name"], call["input"]) for call in started] == [
        ("add", '{"a":1}'),
        ("search", '{"query":"x","limit":2}'),
        ("add", '{"args":[],"kwargs":{}}'),
    ]
    assert [(call["status"], call["output"]) for call in completed] == [
        ("SUCCESS", "3"),
        ("SUCCESS", '["x","x"]'),
        ("ERROR", None),
    ]
    assert (started[1]["mcp_server_id"], started[1]["timeout_ms"]) == ("web", 500)


def test_a_tool_made_before_any_session_belongs_to_the_current_one(lab: Lab) -> None:
    class Shop:
        @tool
        def price(self, item: str) -> str:
            if item == "nothing":
                raise LookupError(item)
            return "5.00"

    shop = Shop()
    assert shop.price("tea") == "5.00"  # outside a session it just runs
    with lab.procurator.session():
        shop.price("tea")
        with pytest.raises(LookupError):
            shop.price("nothing")
    assert [call["input"] for call in lab.payloads("ToolCallStarted")] == ['{"item":"tea"}', '{"item":"nothing"}']
    assert [call["status"] for call in lab.payloads("ToolCallCompleted")] == ["SUCCESS", "ERROR"]


def test_generators_are_refused(lab: Lab) -> None:
    def pages() -> Iterator[int]:
        yield 1

    with pytest.raises(UserError, match="tool: pages is a generator; record it with `with session.tool_call"):
        tool(pages)
