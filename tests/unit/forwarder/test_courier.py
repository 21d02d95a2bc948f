"""One endpoint's deliveries: what wakes a courier that waits for somebody to put something right."""

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from procurator.forwarder.batch import BatchPolicy
from procurator.forwarder.courier import Courier
from procurator.forwarder.depot import Depot
from procurator.forwarder.entries import Entry
from procurator.forwarder.history import History
from procurator.forwarder.journal import Change, Journal
from procurator.forwarder.retry import RetryPolicy
from procurator.forwarder.sender import Answer, Sender
from procurator.forwarder.window import Window
from procurator.webhooks.endpoint import Endpoint, Filter, Format, Secret, Subject
from procurator.webhooks.state import State
from procurator.webhooks.vault import Vault

SEALED_BY_NOBODY = Secret(b"nonsense that nobody sealed", 0)
WANTED = Filter(frozenset({"TurnRecorded"}))
ENDPOINT = Endpoint(
    endpoint_id="e",
    org_id="acme",
    name="n",
    url="https://siem.example.com/",
    format=Format.JSON,
    filter=WANTED,
    enabled=True,
    secrets=(SEALED_BY_NOBODY,),
    token=None,
    requests=(),
    revision=0,
    created_at=0,
    created_by="t",
    changed_at=0,
    changed_by="t",
)


class Echo:
    """A journal whose every write comes back to the courier as the forwarder hears it: with the same definition."""

    courier: Courier

    def __init__(self) -> None:
        self.wanted = ENDPOINT
        self.errors: list[Any] = []

    async def write(self, *changes: Change) -> None:
        record = changes[-1].record
        assert record is not None
        if record["last_error"]:
            self.errors.append(record["last_error"])
        self.courier.update(replace(self.wanted))
        await asyncio.sleep(0)


def test_a_courier_that_says_why_it_waits_is_not_woken_by_that() -> None:
    async def scenario() -> list[Any]:
        window, echo = Window({"log": 0}, bytes_max=1_000), Echo()
        window.add("log", [Entry("log", 0, 0, 10, Subject("TurnRecorded", "acme", "t", "a"), dict)], 1)
        rules = BatchPolicy(linger_s=0.0), RetryPolicy()
        journal, history, sender = cast(Journal, echo), cast(History, None), cast(Sender, None)
        depot = Depot(window, history, journal, Vault("k" * 32), {}, lambda _url: sender, *rules)
        echo.courier = Courier(depot, ENDPOINT, State("e", {"log": 0}))
        task = asyncio.create_task(echo.courier.run())
        for _ in range(200):  # turns of the loop: nothing here waits for time
            await asyncio.sleep(0)
        first = list(echo.errors)
        echo.wanted = ENDPOINT.changed("t", 1)
        echo.courier.update(echo.wanted)
        for _ in range(200):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert len(echo.errors) == len(first) + 1, "a new definition is tried once"
        return first

    (error,) = asyncio.run(scenario())
    assert "another PROCURATOR_WEBHOOK_KEY" in error


def test_an_endpoint_that_was_disabled_is_not_one_that_we_stopped() -> None:
    nobody: Any = cast(Any, type("Depot", (), dict.fromkeys(("vault", "sender", "window", "history", "batches"))))
    nobody.batches = BatchPolicy()

    def condition(endpoint: Endpoint, **state: Any) -> str:
        return Courier(nobody, endpoint, State("e", {}, **state)).condition

    assert condition(ENDPOINT) == "working"
    assert condition(ENDPOINT, failures=1) == "failing"
    assert condition(ENDPOINT, stopped_revision=0) == "stopped"
    assert condition(replace(ENDPOINT, enabled=False)) == "disabled"
    assert condition(replace(ENDPOINT, enabled=False), stopped_revision=0) == "disabled"


class Silent:
    """A journal that nobody hears."""

    async def write(self, *_changes: Change) -> None:
        await asyncio.sleep(0)


class Book:
    """A journal that keeps the positions written to it, and the next one's arrival to be awaited."""

    def __init__(self) -> None:
        self.positions: asyncio.Queue[dict[str, int]] = asyncio.Queue()

    async def write(self, *changes: Change) -> None:
        record = changes[-1].record
        assert record is not None
        self.positions.put_nowait(record["positions"])


def test_what_was_passed_over_since_the_last_writing_is_written_once_it_is_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("procurator.forwarder.courier._IDLE_S", 0.2)

    async def scenario() -> list[int]:
        window, book = Window({"log": 0}, bytes_max=1_000), Book()
        rules = BatchPolicy(linger_s=0.0), RetryPolicy()
        depot = Depot(window, cast(History, None), cast(Journal, book), Vault("k" * 32), {}, cast(Any, None), *rules)
        one = Courier(depot, ENDPOINT, State("e", {"log": 0}))
        unwanted = Entry("log", 0, 0, 10, Subject("ToolCallStarted", "acme", "t", "a"), dict)
        window.add("log", [unwanted], 1)
        task = asyncio.create_task(one.run())
        written = [await asyncio.wait_for(book.positions.get(), 30)]
        window.add("log", [replace(unwanted, offset=1)], 2)
        one.notice()
        written += [await asyncio.wait_for(book.positions.get(), 30)]
        task.cancel()
        await asyncio.wait({task})
        return [positions["log"] for positions in written]

    assert asyncio.run(scenario()) == [1, 2]


class Replaced:
    """A receiver that is replaced by another while it answers that it wants nothing any more."""

    url = ENDPOINT.url

    def __init__(self, wanted: Endpoint) -> None:
        self.courier: Courier | None = None
        self._wanted = wanted
        self.messages: list[str] = []

    async def post(self, headers: dict[str, str], _body: bytes) -> Answer:
        assert self.courier is not None
        self.messages.append(headers["webhook-id"])
        self.courier.update(self._wanted)
        return Answer(410 if len(self.messages) == 1 else 200, "")

    async def close(self) -> None:
        pass


def test_the_answer_of_an_earlier_receiver_does_not_stop_the_next() -> None:
    async def scenario() -> tuple[Replaced, Courier]:
        vault, window = Vault("k" * 32), Window({"log": 0}, bytes_max=1_000)
        window.add("log", [Entry("log", 0, 0, 10, Subject("TurnRecorded", "acme", "t", "a"), dict)], 1)
        endpoint = replace(ENDPOINT, secrets=(Secret(vault.seal(bytes(32), "e"), 0),))
        receiver = Replaced(endpoint.changed("t", 1))
        depot = Depot(
            window,
            cast(History, None),
            cast(Journal, Silent()),
            vault,
            {},
            lambda _url: cast(Sender, receiver),
            BatchPolicy(linger_s=0.0),
            RetryPolicy(),
        )
        receiver.courier = courier = Courier(depot, endpoint, State("e", {"log": 0}))
        task = asyncio.create_task(courier.run())
        for _ in range(200):  # turns of the loop: nothing here waits for time
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        return receiver, courier

    receiver, courier = asyncio.run(scenario())
    assert courier.condition == "working"
    assert receiver.messages == ["msg_e_0_1"] * 2
