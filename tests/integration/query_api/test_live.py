"""Live streams on the whole stack: real Kafka, sink, ClickHouse, and the API as `procurator up` runs it."""

import asyncio
import json
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest
from confluent_kafka import Producer

from procurator.avro_schemas.codec import load_schema
from procurator.clickhouse import ClickHouse
from procurator.clock import now_us
from procurator.deploy.embedded.stack import Stack
from procurator.events import NAMESPACE
from procurator.kafka import producer_config
from procurator.producers import Procurator
from procurator.registry import Registry
from procurator.topics import SESSION_DELTAS, SESSION_EVENTS, Topic

TIMEOUT_S = 90.0
pytestmark = pytest.mark.timeout(240)


@dataclass
class Publisher:
    """Writes session events and pieces of turns to Kafka, confirmed."""

    kafka: str
    registry: str
    ids: dict[str, int] = field(default_factory=dict)
    in_batch: bool = False

    def __post_init__(self) -> None:
        registry = Registry(self.registry)
        self.ids = {name: registry.schema_id(load_schema(name)) for name in ("session_event", "turn_delta")}
        registry.close()
        self._producer = Producer(producer_config(self.kafka, **{"linger.ms": 0}))

    def send(self, topic: Topic, *records: dict[str, Any]) -> None:
        for record in records:
            value = load_schema(topic.schema).encode(record, self.ids[topic.schema])
            self._producer.produce(topic.name, value, record["session_id"])
        assert self.in_batch or self._producer.flush(60) == 0

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Send in this block without waiting for each."""
        self.in_batch = True
        yield
        self.in_batch = False
        assert self._producer.flush(60) == 0


@dataclass
class Agent:
    """One session's events, numbered."""

    publisher: Publisher
    org_id: str = "live-acme"
    owner_team_id: str = "payments"
    session_id: str = field(default_factory=lambda: str(uuid4()))
    sequence: int = 0

    def say(self, kind: str, **payload: Any) -> None:
        event = {
            "event_id": str(uuid4()),
            "session_id": self.session_id,
            "emitter_id": "live-test",
            "sequence": self.sequence,
            "occurred_at": now_us(),
            "nonce": bytes(16),
            "org_id": self.org_id,
            "agent_id": "billing",
            "owner_team_id": self.owner_team_id,
            "payload": (NAMESPACE + kind, payload),
        }
        self.sequence += 1
        self.publisher.send(SESSION_EVENTS, event)

    def start(self, **payload: Any) -> None:
        self.say("SessionStarted", agent_name="Billing", initiator="USER", origin="API", user_id="ada", **payload)

    def turns(self, indexes: range, content: str) -> None:
        """Record turns as fast as Kafka takes them."""
        with self.publisher.batch():
            for index in indexes:
                self.turn(index, content)

    def turn(self, index: int, content: str) -> None:
        self.say("TurnRecorded", turn_index=index, role="ASSISTANT", content=content)

    def delta(self, turn_index: int, delta_index: int, text: str, occurred_at: int | None = None) -> None:
        piece = {
            "session_id": self.session_id,
            "emitter_id": "live-test",
            "org_id": self.org_id,
            "agent_id": "billing",
            "owner_team_id": self.owner_team_id,
            "turn_index": turn_index,
            "delta_index": delta_index,
            "kind": "CONTENT",
            "text": text,
            "occurred_at": now_us() if occurred_at is None else occurred_at,
        }
        self.publisher.send(SESSION_DELTAS, piece)

    def end(self) -> None:
        self.say("SessionEnded", status="COMPLETED", ended_by="runtime")


@dataclass(frozen=True)
class Heard:
    """One Server-Sent Event; ``id`` is the last one that came, as a browser keeps it."""

    name: str
    data: Any
    id: str | None


async def events(response: httpx.Response) -> AsyncIterator[Heard]:
    name, data, last_id = "message", "", None
    async for line in response.aiter_lines():
        if not line:
            if data:
                yield Heard(name, json.loads(data), last_id)
            name, data = "message", ""
        elif line.startswith("id: "):
            last_id = line[4:]
        elif line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            data += line[6:]


@pytest.fixture(scope="module")
def publisher(stack: Stack) -> Publisher:
    return Publisher(stack.kafka, stack.registry_url)


@pytest.fixture
def new_agent(publisher: Publisher) -> Callable[..., Agent]:
    return lambda **fields: Agent(publisher, **fields)


@dataclass(frozen=True)
class Api:
    client: httpx.AsyncClient

    @asynccontextmanager
    async def stream(self, path: str, last_id: str | None = None, **params: str) -> AsyncIterator[AsyncIterator[Heard]]:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        async with self.client.stream("GET", path, headers=headers, params=params) as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            yield events(response)

    async def known(self, session_id: str, status: str = "RUNNING") -> None:
        """Wait until the ledger has the session in this status."""

        async def is_known() -> bool:
            return bool((await self.client.get(f"/v1/sessions/{session_id}")).json()["status"] == status)

        await until(is_known)

    async def slow_streams(self) -> float:
        """Return how many streams were dropped so far for not keeping up."""
        figures = (await self.client.get("/metrics")).text
        [count] = re.findall(r"^procurator_api_live_slow_total (\S+)$", figures, re.MULTILINE)
        return float(count)


@pytest.fixture
async def api(stack: Stack) -> AsyncIterator[Api]:
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    async with httpx.AsyncClient(base_url=stack.api_url, headers=headers, timeout=60, trust_env=False) as client:
        yield Api(client)


async def take(heard: AsyncIterator[Heard], until: Callable[[Heard], bool]) -> list[Heard]:
    """Return what comes up to and with the first one that ``until`` holds for."""
    taken = []
    async with asyncio.timeout(TIMEOUT_S):
        async for one in heard:
            taken.append(one)
            if until(one):
                return taken
    raise AssertionError(f"the stream ended after {[one.name for one in taken]}")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what another process does."""
    async with asyncio.timeout(TIMEOUT_S):
        while not await condition():  # noqa: ASYNC110 - there is nothing here that could be waited for
            await asyncio.sleep(0.05)


def sequences(heard: list[Heard]) -> list[int]:
    return [one.data["sequence"] for one in heard if one.name == "event"]


async def test_the_past_then_the_present_then_the_end(api: Api, new_agent: Callable[..., Agent]) -> None:
    agent = new_agent()
    agent.start()
    agent.turn(0, "one")
    await api.known(agent.session_id)
    async with api.stream(f"/v1/sessions/{agent.session_id}/stream") as heard:
        past = await take(heard, lambda one: one.name == "event" and one.data["sequence"] == 1)
        assert past[0].name == "state"
        agent.say("ToolCallStarted", tool_call_id="t1", tool_name="get_order", input="{}", turn_index=0)
        [*_, call] = await take(heard, lambda one: one.name == "event")
        assert (call.data["kind"], call.data["event"]["payload"]["tool_name"]) == ("ToolCallStarted", "get_order")
        agent.delta(1, 0, "Hel")
        agent.delta(1, 1, "lo")
        pieces = await take(heard, lambda one: one.name == "delta" and one.data["delta_index"] == 1)
        assert "".join(one.data["text"] for one in pieces if one.name == "delta") == "Hello"
        agent.turn(1, "Hello")
        agent.end()
        rest = await take(heard, lambda one: one.name == "end")
        assert rest[-1].data == {"session_id": agent.session_id, "status": "COMPLETED"}
        assert sequences(past + rest) == [0, 1, 3, 4]
        states = [one.data for one in rest if one.name == "state"]
        assert (states[-1]["status"], states[-1]["turns"]) == ("COMPLETED", 2)
        assert [one async for one in heard] == []
    path, last_id = f"/v1/sessions/{agent.session_id}/stream", rest[-1].id
    async with api.stream(path, rest[-2].id) as heard:  # whatever the ledger knows of the end by now
        assert sequences(await take(heard, lambda one: one.name == "end")) == []
    await api.known(agent.session_id, "COMPLETED")
    assert (await api.client.get(path, headers={"Last-Event-ID": str(last_id)})).status_code == 204


async def test_what_the_sdk_streams_is_shown_while_it_is_written(api: Api, stack: Stack) -> None:
    with (
        Procurator(kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url, control=False) as sdk,
        sdk.session(agent="writer") as session,
    ):
        await api.known(session.session_id)
        async with api.stream(f"/v1/sessions/{session.session_id}/stream") as heard:
            await take(heard, lambda one: one.name == "event")
            with session.turn_stream("assistant") as turn:
                turn.thinking_delta("Greet.")
                turn.delta("Hel")
                pieces = await take(heard, lambda one: one.name == "delta" and one.data["kind"] == "CONTENT")
                turn.delta("lo")
            assert [one.data["text"] for one in pieces if one.name == "delta"] == ["Greet.", "Hel"]
            [*_, whole] = await take(heard, lambda one: one.name == "event")
            assert (whole.data["event"]["payload"]["content"], whole.data["event"]["payload"]["turn_index"]) == (
                "Hello",
                0,
            )


async def test_a_piece_with_a_time_of_no_calendar_breaks_no_stream(api: Api, new_agent: Callable[..., Agent]) -> None:
    agent = new_agent()
    agent.start()
    await api.known(agent.session_id)
    async with api.stream(f"/v1/sessions/{agent.session_id}/stream") as heard:
        await take(heard, lambda one: one.name == "event")
        agent.delta(0, 0, "Hel", occurred_at=now_us() * 1000)  # of a clock in nanoseconds
        agent.delta(0, 1, "lo")
        pieces = await take(heard, lambda one: one.name == "delta" and one.data["delta_index"] == 1)
    assert "".join(one.data["text"] for one in pieces if one.name == "delta") == "Hello"


async def test_a_stream_outlives_kafka(api: Api, stack: Stack, new_agent: Callable[..., Agent]) -> None:
    agent = new_agent()
    agent.start()
    await api.known(agent.session_id)
    async with api.stream(f"/v1/sessions/{agent.session_id}/stream") as heard:
        await take(heard, lambda one: one.name == "event")
        await asyncio.to_thread(stack.restart, "kafka", signal.SIGKILL)
        agent.turn(0, "after the outage")
        agent.end()
        rest = await take(heard, lambda one: one.name == "end")
    assert sequences(rest) == [1, 2]


async def test_a_server_that_stops_says_so_and_its_successor_goes_on(
    api: Api, stack: Stack, new_agent: Callable[..., Agent]
) -> None:
    agent = new_agent()
    agent.start()
    await api.known(agent.session_id)
    path = f"/v1/sessions/{agent.session_id}/stream"
    async with api.stream(path) as heard:
        [*_, first] = await take(heard, lambda one: one.name == "event")
        restart = asyncio.create_task(asyncio.to_thread(stack.restart, "api", signal.SIGTERM))
        [*_, dropped] = await take(heard, lambda one: one.name == "dropped")
    assert dropped.data["reason"] == "restarting"
    await restart
    agent.turn(0, "meanwhile")
    agent.end()
    await api.known(agent.session_id, "COMPLETED")
    async with api.stream(path, first.id) as heard:
        assert sequences(await take(heard, lambda one: one.name == "end")) == [1, 2]


async def test_live_entries_are_those_of_the_ledger(api: Api, new_agent: Callable[..., Agent]) -> None:
    agent = new_agent()
    agent.start(labels={"a": "ü"})
    await api.known(agent.session_id)
    async with api.stream(f"/v1/sessions/{agent.session_id}/stream") as heard:
        await take(heard, lambda one: one.name == "event")
        agent.turn(0, "live")
        agent.end()
        live = [one.data for one in await take(heard, lambda one: one.name == "end") if one.name == "event"]
    entries: list[dict[str, Any]] = []

    async def are_there() -> bool:
        entries[:] = (await api.client.get(f"/v1/sessions/{agent.session_id}/events")).json()["items"]
        return len(entries) == 3

    await until(are_there)
    unknown = ("leaf_index", "leaf_hash", "flags")
    assert all(entry[name] is None for entry in live for name in unknown)
    assert [{**entry, **dict.fromkeys(unknown)} for entry in entries[1:]] == live
    async with api.stream(f"/v1/sessions/{agent.session_id}/stream") as heard:
        again = [one.data for one in await take(heard, lambda one: one.name == "end") if one.name == "event"]
    assert again == entries


async def test_a_dropped_connection_goes_on_where_it_was_cut(api: Api, new_agent: Callable[..., Agent]) -> None:
    agent = new_agent()
    agent.start()
    await api.known(agent.session_id)
    path, last_id = f"/v1/sessions/{agent.session_id}/stream", None
    got: list[int] = []
    for cut in range(1, 9):
        async with api.stream(path, last_id) as heard:
            for index in range(4):
                agent.turn(4 * (cut - 1) + index, "x" * 500)
            while len(got) < 4 * cut - 2:  # some of what was sent is left in the connection
                [*_, event] = await take(heard, lambda one: one.name == "event")
                got.append(event.data["sequence"])
                last_id = event.id
    agent.end()
    async with api.stream(path, last_id) as heard:
        got += sequences(await take(heard, lambda one: one.name == "end"))
    assert got == list(range(34))


async def test_the_list_shows_what_matches_and_what_leaves(api: Api, new_agent: Callable[..., Agent]) -> None:
    org_id = f"live-{uuid4().hex[:8]}"
    query = {"q": f"org:{org_id} status:RUNNING"}
    async with api.stream("/v1/stream", **query) as heard:
        [ready] = await take(heard, lambda one: one.name == "ready")
        agent, other = new_agent(org_id=org_id), new_agent(org_id="live-elsewhere")
        other.start()
        agent.start()
        [*_, shown] = await take(heard, lambda one: one.name == "state")
        assert (shown.data["session_id"], shown.data["status"]) == (agent.session_id, "RUNNING")
        agent.end()
        left = await take(heard, lambda one: one.name == "gone")
        assert left[-1].data == {"session_id": agent.session_id}
    assert ready.id != shown.id
    # Resumed from before the end: it left meanwhile. Another starts meanwhile, and is shown.
    second = new_agent(org_id=org_id)
    second.start()
    async with api.stream("/v1/stream", shown.id, **query) as heard:
        missed: set[tuple[str, str]] = set()
        while len(missed) < 2:  # of two logs, in whatever order; before or after "ready"
            [*_, one] = await take(heard, lambda one: one.name != "ready")
            missed.add((one.name, one.data["session_id"]))
    assert missed == {("gone", agent.session_id), ("state", second.session_id)}


async def test_what_was_listed_before_the_stream_began_is_told_to_leave(
    api: Api, new_agent: Callable[..., Agent]
) -> None:
    org_id = f"live-{uuid4().hex[:8]}"
    agent = new_agent(org_id=org_id)
    agent.start()
    await api.known(agent.session_id)
    async with api.stream("/v1/stream", q=f"org:{org_id} is:open") as heard:
        await take(heard, lambda one: one.name == "ready")
        agent.end()
        [*_, left] = await take(heard, lambda one: one.name == "gone")
    assert left.data == {"session_id": agent.session_id}


async def test_a_backfill_is_the_newest_sessions_and_what_follows_is_told_once(
    api: Api, new_agent: Callable[..., Agent]
) -> None:
    org_id = f"live-{uuid4().hex[:8]}"
    agents = [new_agent(org_id=org_id) for _ in range(4)]
    for agent in agents:
        agent.start()
    agents[3].end()

    async def are_listed() -> bool:
        listed = (await api.client.get(f"/v1/sessions?q=org:{org_id}")).json()["items"]
        return sorted(one["status"] for one in listed) == ["COMPLETED", "RUNNING", "RUNNING", "RUNNING"]

    await until(are_listed)
    async with api.stream("/v1/stream", q=f"org:{org_id} status:RUNNING", backfill="2") as heard:
        *newest, ready = await take(heard, lambda one: one.name == "ready")
        assert [one.data["session_id"] for one in newest] == [agents[2].session_id, agents[1].session_id]
        assert [one.id for one in newest] == [None, None]
        for agent in agents[:2]:
            agent.end()
        told = [*newest, *(await take(heard, lambda one: one.data.get("session_id") == agents[0].session_id))]
    states = [(one.data["session_id"], one.data["as_of_offset"]) for one in told if one.name == "state"]
    assert len(set(states)) == len(states)
    async with api.stream("/v1/stream", ready.id, q=f"org:{org_id} status:RUNNING", backfill="2") as heard:
        resumed = await take(heard, lambda one: one.name == "ready")
    assert all(one.name != "state" for one in resumed), "who resumes is told what changed, and nothing else"


async def test_a_list_goes_live_after_a_purge_of_the_last_state_of_a_partition(
    api: Api, stack: Stack, new_agent: Callable[..., Agent]
) -> None:
    agent = new_agent(org_id=f"live-{uuid4().hex[:8]}")
    agent.start()
    await api.known(agent.session_id)
    with closing(ClickHouse(stack.clickhouse_url, "admin", stack.admin_key, "procurator")) as clickhouse:
        its_row = f"SELECT 1 FROM sessions WHERE session_id = '{agent.session_id}'"

        async def is_published() -> bool:
            return bool(clickhouse.rows(its_row))

        await until(is_published)  # known it is as soon as its events are
        await asyncio.to_thread(stack.restart, "api", signal.SIGTERM)  # its feed begins at the table's heads anew
        await api.known(agent.session_id)

        def heads() -> list[tuple[Any, ...]]:
            sql = "SELECT state_log_id, max(state_offset) AS head FROM sessions GROUP BY state_log_id"
            return clickhouse.rows(f"{sql} ORDER BY 1")

        query = {"q": f"org:{agent.org_id}", "backfill": "5"}
        async with api.stream("/v1/stream", **query) as heard:
            [*_, ready] = await take(heard, lambda one: one.name == "ready")
            before = heads()
            # What a purge does to the table; its tombstone makes no row.
            clickhouse.execute(
                f"ALTER TABLE sessions DELETE WHERE session_id = '{agent.session_id}' SETTINGS mutations_sync = 2"
            )
            assert heads() != before, "another session's state came after this one's, so that nothing is tested"
            async with (
                api.stream("/v1/stream", **query) as new,
                api.stream("/v1/stream", ready.id, **query) as resumed,
            ):
                for later in (new, resumed):
                    assert [one.name for one in await take(later, lambda one: one.name == "ready")] == ["ready"]
                agent.end()  # published anew: the row is back, and the next test finds the table whole
                for stream in (heard, new, resumed):
                    [*_, state] = await take(stream, lambda one: one.name == "state")
                    assert (state.data["session_id"], state.data["status"]) == (agent.session_id, "COMPLETED")


async def test_a_slow_listener_is_dropped_with_a_reason_and_resumes(
    api: Api, stack: Stack, new_agent: Callable[..., Agent]
) -> None:
    agent, turns = new_agent(), 0
    agent.start()
    await api.known(agent.session_id)
    path = f"/v1/sessions/{agent.session_id}/stream"
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(TIMEOUT_S)
        address = httpx.URL(stack.api_url)
        slow.connect((address.host, address.port))
        slow.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {address.host}\r\nAuthorization: Bearer {stack.admin_key}\r\n\r\n".encode()
        )
        agent.delta(0, 0, "x")  # Kafka alone has pieces of turns: who gets one has come from the ledger to what is live
        await asyncio.to_thread(_read_until, slow, b"event: delta")
        before = await api.slow_streams()
        async with asyncio.timeout(TIMEOUT_S):
            while (
                await api.slow_streams() == before
            ):  # nobody reads, so they wait: in the connection, then in the server
                agent.turns(range(turns, turns + 1_000), "x" * 2_000)
                turns += 1_000
        rest = await asyncio.to_thread(_read_until, slow, b"event: dropped")
    assert b'"reason":"slow"' in rest
    last_id = rest.rpartition(b"\nid: ")[2].partition(b"\n")[0].decode()
    got = [int(number) for number in re.findall(rb'"sequence":(\d+),"occurred_at":"[^"]*","event":', rest)]
    agent.end()
    async with api.stream(path, last_id) as heard:
        resumed = sequences(await take(heard, lambda one: one.name == "end"))
    assert len(resumed) > 100
    assert got[-1] + 1 == resumed[0]
    assert resumed == list(range(resumed[0], turns + 2))


def _read_until(connection: socket.socket, mark: bytes) -> bytes:
    """Return what comes until ``mark`` and the end of its line has come."""
    received, at, looked = bytearray(), -1, 0
    deadline_s = time.monotonic() + TIMEOUT_S
    while at < 0 or received.find(b"\n\n", at) < 0:
        assert time.monotonic() < deadline_s, f"{mark!r} does not come, heartbeats at most do"
        piece = connection.recv(1 << 16)
        assert piece, "the connection was closed"
        received += piece
        if at < 0:  # once over what is new: megabytes come in small pieces
            at = received.find(mark, looked)
            looked = max(0, len(received) - len(mark))
    return bytes(received)


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/v1/sessions/00000000-0000-4000-8000-000000000000/stream", {}, 404),
        ("/v1/stream", {"last_event_id": "nonsense"}, 422),
        ("/v1/stream", {"q": "refund"}, 422),
        ("/v1/stream", {"colour": "red"}, 422),
    ],
)
async def test_what_cannot_be_streamed(api: Api, path: str, params: dict[str, str], status: int) -> None:
    response = await api.client.get(path, params=params)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
