"""The SDK against real Kafka and a real registry: what was confirmed is there, once, in order; what was not is said."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.deploy.embedded.components import INFRASTRUCTURE
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.errors import Backpressure, Unavailable, UserError
from procurator.events import SessionEvent, kind_of, parse
from procurator.kafka import Topics, consumer_config
from procurator.partitioner import partition_of
from procurator.producers import DeliveryFailed, Procurator
from procurator.producers.simulator import simulate
from procurator.registry import Registry
from procurator.topics import CONTROL, SESSION_EVENTS

PARTITIONS = 4


def set_up(stack: Stack) -> None:
    registry = Registry(stack.registry_url)
    registry.register(load_schema("session_event"))
    registry.close()
    Topics(stack.kafka).ensure([SESSION_EVENTS, CONTROL], PARTITIONS, 1)


def read(stack: Stack, session_ids: set[str]) -> Iterator[tuple[int, SessionEvent]]:
    """Yield (partition, event) of these sessions from the topic's beginning to its end."""
    registry = Registry(stack.registry_url)
    decoder = Decoder(load_schema("session_event"), registry.fetch)
    consumer = Consumer(consumer_config(stack.kafka, "test-sdk", **{"enable.partition.eof": True}))
    consumer.assign([TopicPartition(SESSION_EVENTS.name, partition, 0) for partition in range(PARTITIONS)])
    ended: set[int] = set()  # An end may be told twice.
    while len(ended) < PARTITIONS:
        message = consumer.poll(60)
        assert message is not None
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            ended.add(message.partition())
        elif message.key().decode() in session_ids:
            yield message.partition(), parse(decoder, message.value())
    consumer.close()
    registry.close()


@pytest.fixture(scope="module")
def kafka(broker_stack: Stack) -> Stack:
    set_up(broker_stack)
    return broker_stack


def connect(stack: Stack, **options: object) -> Procurator:
    return Procurator(
        kafka_bootstrap_servers=stack.kafka,
        schema_registry_url=stack.registry_url,
        environment={},
        **{"on_full": "block", **options},  # type: ignore[arg-type]
    )


def test_threads_and_tasks_record_sessions_that_arrive_once_in_order_where_they_belong(kafka: Stack) -> None:
    with connect(kafka) as procurator:
        sessions = [procurator.session(agent=f"agent-{number}").start() for number in range(8)]

        def work() -> None:
            for turn in range(50):
                for session in sessions:
                    session.turn("assistant", f"{turn} " + "x" * 900)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()

        async def task() -> None:
            for session in sessions:
                async with session.tool_call("f", {"n": 1}) as call:
                    await asyncio.sleep(0)
                    call.complete({"m": 2})

        asyncio.run(task())
        for thread in threads:
            thread.join()
        for session in sessions:
            session.end()
    sequences: dict[str, list[int]] = {session.session_id: [] for session in sessions}
    for partition, event in read(kafka, set(sequences)):
        assert partition == partition_of(event["session_id"], PARTITIONS)
        sequences[event["session_id"]].append(event["sequence"])
    assert all(numbers == list(range(1 + 150 + 2 + 1)) for numbers in sequences.values())


def test_a_five_megabyte_turn_arrives_whole(kafka: Stack) -> None:
    content = "é" * (5 * 1024 * 1024 // 2)
    with connect(kafka) as procurator, procurator.session() as session:
        session.turn("tool", content)
    (turn,) = (event for _, event in read(kafka, {session.session_id}) if kind_of(event) == "TurnRecorded")
    assert turn["payload"][1]["content"] == content
    assert turn["truncations"] == []


def test_a_simulated_fleet_is_published_as_it_says(kafka: Stack) -> None:
    with connect(kafka) as procurator:
        played = simulate(procurator, 40, seed=11)
    counts = Counter(event["session_id"] for _, event in read(kafka, {session.session_id for session in played}))
    assert counts == {session.session_id: session.events for session in played}


@pytest.mark.parametrize("leaves", ["falls out of use", "exits", "raises"])
def test_nothing_is_lost_when_the_agent_just_stops(kafka: Stack, leaves: str, tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text(
        "import sys\n"
        "from procurator.producers import Procurator\n"
        "def work():\n"
        "    with Procurator().session(agent='a') as s:\n"
        "        for n in range(500): s.turn('assistant', str(n))\n"
        "        print(s.session_id, flush=True)\n"
        f"        if {leaves == 'exits'}: sys.exit(0)\n"
        f"        if {leaves == 'raises'}: raise RuntimeError('boom')\n"
        "work()\n"
    )
    environment = {
        **os.environ,
        "PROCURATOR_KAFKA_BOOTSTRAP_SERVERS": kafka.kafka,
        "PROCURATOR_SCHEMA_REGISTRY_URL": kafka.registry_url,
    }
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    events = [event for _, event in read(kafka, {done.stdout.strip()})]
    assert [event["sequence"] for event in events] == list(range(502))
    expected = "FAILED" if leaves == "raises" else "COMPLETED"
    assert events[-1]["payload"][1]["status"] == expected
    assert ("RuntimeError: boom" in done.stderr) == (leaves == "raises")


def test_neighbours_that_are_away_or_not_set_up_are_one_clear_line(kafka: Stack) -> None:
    nowhere = "127.0.0.1:9"
    away = Procurator(kafka_bootstrap_servers=nowhere, schema_registry_url=f"http://{nowhere}", environment={})
    with pytest.raises(Unavailable, match="schema registry at http://127.0.0.1:9 does not answer"):
        away.connect()
    # A registry that answers but does not know the schema.
    unknown = kafka.registry_url.replace("ccompat/v7", "ccompat/v7/nothing")
    with pytest.raises(UserError, match="run `procurator setup`"):
        Procurator(kafka_bootstrap_servers=kafka.kafka, schema_registry_url=unknown, environment={}).connect()


def test_an_outage_fills_the_queue_is_told_exactly_and_loses_nothing(
    tmp_path: Path, freeze: Callable[[int], None]
) -> None:
    components = INFRASTRUCTURE - {"clickhouse"}
    with Stack(StackConfig(tmp_path, Ports.free(), components)) as stack:
        set_up(stack)
        procurator = connect(stack, on_full="block", queue_wait_s=0.2)
        session = procurator.session(agent="patient").start()
        procurator.flush()

        freeze(stack.pid("kafka"))
        accepted = 0
        with pytest.raises(Backpressure, match="the event was not accepted"):  # noqa: PT012
            while True:
                session.turn("assistant", "x" * 1_000_000)
                accepted += 1
        assert accepted > 100
        with pytest.raises(DeliveryFailed) as failure:
            procurator.flush(0.2)
        (unconfirmed,) = failure.value.unconfirmed
        assert (unconfirmed.session_id, unconfirmed.count) == (session.session_id, accepted)

        os.kill(stack.pid("kafka"), signal.SIGCONT)
        procurator.flush(60)
        session.end()
        stack.restart("kafka", signal.SIGKILL)
        session.turn("assistant", "after a crash of the broker")
        procurator.close(60)
        numbers = [event["sequence"] for _, event in read(stack, {session.session_id})]
        # What was on its way when Kafka fell silent may have arrived twice; the ledger counts that nowhere.
        assert list(dict.fromkeys(numbers)) == list(range(session.events))
        assert session.events == accepted + 3
