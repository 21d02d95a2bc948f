"""Turns that are written piece by piece: what is shown meanwhile, and what is recorded."""

from queue import Queue
from threading import Event
from typing import Any

import pytest

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.errors import Unavailable
from procurator.events import MODEL_CALL_STARTED, TURN_RECORDED
from procurator.producers import Procurator
from procurator.producers.delta_channel import DeltaChannel
from procurator.producers.memory import MemoryTransport
from procurator.producers.streamed_turn import StreamedTurn

TIMEOUT_S = 10.0
IDENTITY = {"session_id": "s" * 36, "emitter_id": "e", "org_id": "o", "agent_id": "a", "owner_team_id": "t"}


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def procurator(transport: MemoryTransport) -> Procurator:
    return Procurator(transport=transport, agent="billing")


def payloads(transport: MemoryTransport, kind: str) -> list[dict[str, Any]]:
    return [event["payload"][1] for event in transport.events if event["payload"][0] == kind]


def test_a_streamed_turn_is_recorded_whole(procurator: Procurator, transport: MemoryTransport) -> None:
    with procurator.session() as session:
        session.turn("user", "Hi")
        with session.turn_stream("assistant") as turn:
            turn.thinking_delta("Greet")
            turn.delta("Hel")
            turn.delta("lo")
        assert turn.turn_index == 1
        assert session.turn("user", "Thanks") == 2
    recorded = [(turn["turn_index"], turn["content"], turn["thinking"]) for turn in payloads(transport, TURN_RECORDED)]
    assert recorded == [(0, "Hi", None), (1, "Hello", "Greet"), (2, "Thanks", None)]


def test_what_was_written_until_an_error_is_recorded(procurator: Procurator, transport: MemoryTransport) -> None:
    def stream() -> None:
        with procurator.session() as session, session.turn_stream() as turn:
            turn.delta("The answer is")
            raise ConnectionError("the provider hung up")

    with pytest.raises(ConnectionError):
        stream()
    assert [turn["content"] for turn in payloads(transport, TURN_RECORDED)] == ["The answer is"]


def test_a_turn_that_comes_meanwhile_has_an_index_of_its_own(
    procurator: Procurator, transport: MemoryTransport
) -> None:
    with procurator.session() as session, session.turn_stream() as turn:
        with session.model_call("openai", "gpt-4o"):
            turn.delta("while")
        assert session.turn("tool", "meanwhile") == 1
    assert [call["turn_index"] for call in payloads(transport, MODEL_CALL_STARTED)] == [0]
    assert [turn["turn_index"] for turn in payloads(transport, TURN_RECORDED)] == [1, 0]


class Sender:
    """Takes pieces as the channel sends them."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self._arrived: Queue[str] = Queue()

    def __call__(self, key: bytes, record: dict[str, Any]) -> None:
        assert key.decode() == record["session_id"]
        schema = load_schema("turn_delta")
        Decoder(schema, lambda _: schema.text).decode(schema.encode(record, 1))
        self.records.append(record)
        self._arrived.put(record["text"])

    def text(self, characters: int) -> str:
        """Return what arrives, once it is so much."""
        text = ""
        while len(text) < characters:
            text += self._arrived.get(timeout=TIMEOUT_S)
        return text


class Session:
    """As much of a session as a turn needs."""

    def __init__(self) -> None:
        self.recorded: list[str] = []

    def check(self) -> None:
        pass

    def reserve_turn(self, speaker: str) -> int:
        return 7

    def record_turn(self, index: int, speaker: str, content: str, **more: Any) -> None:
        self.recorded.append(content)


def test_pieces_are_joined_and_sent_in_order() -> None:
    sender, session = Sender(), Session()
    channel = DeltaChannel(lambda: sender, lambda: 1)
    with StreamedTurn(session, "ASSISTANT", channel.of_session(**IDENTITY)) as turn:
        for letter in "abcdefghij" * 100:
            turn.delta(letter)
        assert sender.text(1000) == "abcdefghij" * 100
        turn.delta("\ud800")
        assert sender.text(1) == "\\ud800"
    assert [record["delta_index"] for record in sender.records] == list(range(len(sender.records)))
    assert len(sender.records) < 20
    assert session.recorded == ["abcdefghij" * 100 + "\ud800"]


def test_without_kafka_nothing_waits_and_the_turn_is_recorded() -> None:
    asked = Event()

    def away() -> Sender:
        asked.set()
        raise Unavailable("Kafka is away")

    session = Session()
    with StreamedTurn(session, "ASSISTANT", DeltaChannel(away, lambda: 1).of_session(**IDENTITY)) as turn:
        turn.delta("a")
        assert asked.wait(TIMEOUT_S)
        turn.delta("b")
    assert session.recorded == ["ab"]
