"""The spool on real Kafka: nothing is lost while the broker is away, when the process dies, or both."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from procurator.avro_schemas.codec import Decoder, load_schema, parse_schema
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.events import SessionEvent, kind_of, parse
from procurator.kafka import Topics, consumer_config
from procurator.producers import Procurator, broker, delivery
from procurator.producers.frames import Head
from procurator.producers.outbox import QueuePolicy
from procurator.producers.spool import Spool
from procurator.registry import Registry
from procurator.topics import CONTROL, SESSION_EVENTS

PARTITIONS = 4


@dataclass
class Lab:
    """A broker that may be stopped and continued, and agents in processes of their own."""

    stack: Stack
    spool: Path
    freeze: Callable[[int], None]
    agents: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        registry = Registry(self.stack.registry_url)
        registry.register(load_schema("session_event"))
        registry.close()
        Topics(self.stack.kafka).ensure([SESSION_EVENTS, CONTROL], PARTITIONS, 1)

    def procurator(self, **options: Any) -> Procurator:
        where = {"kafka_bootstrap_servers": self.stack.kafka, "schema_registry_url": self.stack.registry_url}
        return Procurator(**(where | options), spool_dir=self.spool, control=False, environment={})

    def agent(self, script: str) -> "subprocess.Popen[str]":
        """Start a process that runs ``script``, in which ``p`` is a Procurator and ``say(…)`` tells us something."""
        before = (
            "import json, os, signal, sys\n"
            "from procurator.producers import Procurator\n"
            "def say(what): print(json.dumps(what), flush=True)\n"
            "def wait():\n"
            "    while True: signal.pause()\n"
            "p = Procurator()\n"
        )
        environment = {
            **os.environ,
            "PROCURATOR_KAFKA_BOOTSTRAP_SERVERS": self.stack.kafka,
            "PROCURATOR_SCHEMA_REGISTRY_URL": self.stack.registry_url,
            "PROCURATOR_SPOOL_DIR": str(self.spool),
            "PROCURATOR_CONTROL": "off",
            "PROCURATOR_ON_FULL": "spool",
        }
        command = [sys.executable, "-c", before + script]
        self.agents.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        return self.agents[-1]

    def close(self) -> None:
        self.wake()
        for agent in self.agents:
            with agent:
                agent.kill()

    def silence(self) -> None:
        self.freeze(self.stack.pid("kafka"))

    def wake(self) -> None:
        os.kill(self.stack.pid("kafka"), signal.SIGCONT)

    def deliver_spool(self) -> None:
        """Be the next process: adopt and send what dead ones left."""
        with self.procurator() as procurator:
            procurator.connect()
            # A writer killed within a write leaves a frame that is not whole: such a file is kept aside.
            until(lambda: all(path.parent.name == "corrupt" for path in self.spool.rglob("*.seg")), wait_s=300)

    def events(self, session_ids: set[str]) -> Iterator[SessionEvent]:
        registry = Registry(self.stack.registry_url)
        decoder = Decoder(load_schema("session_event"), registry.fetch)
        consumer = Consumer(consumer_config(self.stack.kafka, "test-spool", **{"enable.partition.eof": True}))
        consumer.assign([TopicPartition(SESSION_EVENTS.name, partition, 0) for partition in range(PARTITIONS)])
        ended: set[int] = set()  # An end may be told twice.
        while len(ended) < PARTITIONS:
            message = consumer.poll(60)
            assert message is not None
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                ended.add(message.partition())
            elif message.key().decode() in session_ids:
                yield parse(decoder, message.value())
        consumer.close()
        registry.close()

    def first_seen(self, session_id: str) -> dict[str, list[int]]:
        """Return the numbers of each emitter of a session in the order of their first arrival."""
        numbers: dict[str, dict[int, None]] = {}
        for event in self.events({session_id}):
            numbers.setdefault(event["emitter_id"], {})[event["sequence"]] = None
        return {emitter: list(seen) for emitter, seen in numbers.items()}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker of its own: it is stopped and continued."""
    config = StackConfig(tmp_path_factory.mktemp("spool-stack"), Ports.free(), frozenset({"kafka", "registry"}))
    with Stack(config) as stack:
        yield stack


@pytest.fixture
def lab(stack: Stack, tmp_path: Path, freeze: Callable[[int], None]) -> Iterator[Lab]:
    lab = Lab(stack, tmp_path / "spool", freeze)
    try:
        yield lab
    finally:
        lab.close()


def said(agent: "subprocess.Popen[str]") -> Any:
    assert agent.stdout is not None
    return json.loads(agent.stdout.readline())


def away(procurator: Procurator) -> str | None:
    """Return why the SDK does not give Kafka anything, if so."""
    assert procurator._link is not None
    transport = procurator._link.transport
    assert isinstance(transport, delivery.Delivery)
    return transport._connection.away


def rest(agent: "subprocess.Popen[str]") -> list[str]:
    """Return the whole lines that a dead agent has said since."""
    assert agent.stdout is not None
    agent.wait()
    return [line for line in agent.stdout.read().splitlines(keepends=True) if line.endswith("\n")]


def until(condition: Callable[[], bool], wait_s: float = 90) -> None:
    give_up_at = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < give_up_at
        threading.Event().wait(0.01)


def test_an_outage_goes_to_disk_and_comes_back_in_order(lab: Lab) -> None:
    with lab.procurator() as procurator:
        procurator.connect()
        session = procurator.session(agent="patient").start()
        session.turn("user", "before")
        assert procurator.flush(30) == 0
        lab.silence()
        for number in range(3_000):
            session.turn("assistant", f"during {number} " + "x" * 900)
        procurator.confirm(30)
        assert list(lab.spool.rglob("*.seg"))
        assert procurator.flush(0.1) > 0
        lab.wake()
        session.turn("assistant", "after")
        session.end()
        assert procurator.flush(60) == 0
    (numbers,) = lab.first_seen(session.session_id).values()
    assert numbers == list(range(session.events))
    assert list(lab.spool.rglob("*.seg")) == []


def test_an_outage_that_nobody_waits_out_repeats_nothing(lab: Lab) -> None:
    with lab.procurator() as procurator:
        procurator.connect()
        session = procurator.session(agent="patient").start()
        procurator.flush(30)
        lab.silence()
        for number in range(2_000):
            session.turn("assistant", f"on its way {number} " + "x" * 900)
        until(lambda: away(procurator) is not None)
        session.turn("assistant", "to disk")
        until(lambda: bool(list(lab.spool.rglob("*.seg"))))
        lab.wake()
        session.end()
        assert procurator.flush(60) == 0
    numbers = [event["sequence"] for event in lab.events({session.session_id})]
    assert numbers == list(range(session.events))


def test_what_was_durable_survives_kill_dash_nine_with_kafka_away(lab: Lab) -> None:
    agent = lab.agent(
        "s = p.session(agent='a', durable=True).start()\n"
        "say(s.session_id)\n"
        "while True:\n"
        "    s.turn('assistant', 'x' * 500)\n"
        "    say(s.events)\n"
    )
    session_id, confirmed = said(agent), 0
    while confirmed < 50:
        confirmed = said(agent)
    lab.silence()
    while confirmed < 400:
        confirmed = said(agent)
    agent.kill()
    for line in rest(agent):
        confirmed = int(line)
    lab.wake()
    lab.deliver_spool()
    (numbers,) = lab.first_seen(session_id).values()
    assert numbers[:confirmed] == list(range(confirmed))


@pytest.mark.parametrize("last", ["", "raise SystemExit(3)", "wait()"], ids=["returns", "exits", "SIGTERM"])
def test_an_agent_that_ends_while_kafka_is_away_leaves_its_events_to_the_next(lab: Lab, last: str) -> None:
    lab.silence()
    agent = lab.agent(
        "s = p.session(agent='a').start()\n"
        "for n in range(500): s.turn('assistant', str(n))\n"
        "say(s.session_id)\n"
        f"{last}\n"
    )
    session_id = said(agent)
    if last == "wait()":
        agent.terminate()
    assert agent.wait(60) == {"": 0, "wait()": -signal.SIGTERM}.get(last, 3)
    lab.wake()
    lab.deliver_spool()
    (numbers,) = lab.first_seen(session_id).values()
    assert numbers == list(range(501))


def test_kafka_was_never_there_and_the_agent_does_not_notice(lab: Lab) -> None:
    nowhere = "127.0.0.1:9"
    with Procurator(
        kafka_bootstrap_servers=nowhere, schema_registry_url=f"http://{nowhere}", spool_dir=lab.spool, environment={}
    ) as procurator:
        with procurator.session(agent="alone", durable=True) as session:
            session.turn("assistant", "is anybody there?")
        assert procurator.flush(0.1) == session.events == 3
    assert len(list(lab.spool.rglob("*.seg"))) == 1


def test_what_found_no_room_is_a_counted_gap(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "LIBRDKAFKA_KIB_MAX", 8 * 1024)
    with lab.procurator(on_full="drop") as procurator:
        procurator._policy = QueuePolicy("drop", bytes_max=8 * 1024 * 1024)
        procurator.connect()
        session = procurator.session(agent="loud").start()
        procurator.flush(30)
        lab.silence()
        for _ in range(40):
            session.turn("assistant", "x" * 1_000_000)
        lab.wake()
        assert procurator.flush(60) == 0
        session.end()
    events = {event["sequence"]: event for event in lab.events({session.session_id})}
    gaps = [event["payload"][1] for event in events.values() if kind_of(event) == "Gap"]
    lost = set(range(session.events)) - set(events)
    assert len(lost) > 10
    assert sum(gap["events_dropped"] for gap in gaps) == len(lost)
    assert all(any(gap["first_sequence"] <= number <= gap["last_sequence"] for gap in gaps) for number in lost)
    assert kind_of(events[session.events - 1]) == "SessionEnded"


def test_a_registry_that_refuses_the_schema_stops_nobody_and_loses_nothing(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = lab.stack.registry_url.replace("ccompat/v7", "ccompat/v7/nothing")

    def reasons() -> list[str]:
        return [line for line in caplog.messages if "run `procurator setup`" in line]

    with lab.procurator(schema_registry_url=wrong) as procurator:
        with procurator.session(agent="a") as session:
            session.turn("assistant", "on")
        assert procurator.flush(0.5) == 3
        until(lambda: bool(reasons()))
    assert len(reasons()) == 1
    lab.deliver_spool()
    (numbers,) = lab.first_seen(session.session_id).values()
    assert numbers == [0, 1, 2]


def test_what_another_version_left_is_put_aside_until_its_schema_is_registered(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    document = json.loads(load_schema("session_event").text)
    document["fields"].append({"name": "of_another_version", "type": ["null", "string"], "default": None})
    schema = parse_schema(json.dumps(document))
    dead = Spool(lab.spool, Head(schema.text, lab.stack.kafka), 1 << 20)
    dead.append([(b"another", b"event")])
    dead.close()
    (left,) = lab.spool.rglob("*.seg")
    with lab.procurator() as procurator:
        with procurator.session(agent="a") as session:
            session.turn("assistant", "on")
        assert (procurator.flush(30), away(procurator)) == (0, None)
    (numbers,) = lab.first_seen(session.session_id).values()
    assert numbers == [0, 1, 2]
    (kept,) = lab.spool.rglob("*.seg")
    (line,) = [line for line in caplog.messages if str(left) in line]
    assert "run `procurator setup`" in line
    assert line.endswith(str(kept))
    registry = Registry(lab.stack.registry_url)
    registry.register(schema)
    registry.close()
    left.parent.mkdir(exist_ok=True)
    kept.rename(left)
    lab.deliver_spool()


@pytest.mark.soak
def test_a_million_events_survive_kill_dash_nine_at_a_hundred_points(lab: Lab) -> None:
    """Writers are killed while Kafka is away, whoever sends what they left is killed too; what was durable arrives."""
    draw = Random(9)
    write = (
        "s = p.session(agent='a').start()\n"
        "say(s.session_id)\n"
        "while True:\n"
        "    for n in range(500): s.turn('assistant', 'x' * 300)\n"
        "    p.confirm(60)\n"
        "    say(s.events)\n"
    )
    confirmed: dict[str, int] = {}
    lab.silence()
    while len(confirmed) < 50 or sum(confirmed.values()) < 1_000_000:
        agent = lab.agent(write)
        session_id, count, enough = said(agent), 0, draw.uniform(10_000, 32_000)
        while count < enough:
            count = said(agent)
        threading.Event().wait(draw.uniform(0, 0.02))
        agent.kill()
        confirmed[session_id] = max([count, *map(int, rest(agent))])
    lab.wake()
    for _ in range(50):
        sender = lab.agent("p.connect()\nsay(0)\np.flush(600)\nsay(1)\n")
        assert said(sender) == 0
        threading.Event().wait(draw.uniform(0, 1.0))
        sender.kill()
        rest(sender)
    lab.deliver_spool()
    seen: dict[str, dict[int, None]] = {session_id: {} for session_id in confirmed}
    for event in lab.events(set(confirmed)):
        seen[event["session_id"]][event["sequence"]] = None
    for session_id, count in confirmed.items():
        numbers = list(seen[session_id])
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= count


def test_a_forked_child_is_another_emitter_and_loses_nothing_either(lab: Lab) -> None:
    agent = lab.agent(
        "import multiprocessing\n"
        "def child(s): s.turn('assistant', 'child'); s.turn('assistant', 'child')\n"
        "with p.session(agent='a') as s:\n"
        "    for n in range(300): s.turn('assistant', str(n))\n"
        "    worker = multiprocessing.get_context('fork').Process(target=child, args=(s,))\n"
        "    worker.start(); worker.join()\n"
        "    if os.fork() == 0:\n"
        "        s.turn('assistant', 'raw'); p.flush(); os._exit(0)\n"
        "    os.wait()\n"
        "    s.turn('assistant', 'parent')\n"
        "say(s.session_id)\n"
    )
    session_id = said(agent)
    assert agent.wait(60) == 0
    lab.deliver_spool()  # A busy broker may have taken its time.
    seen = sorted(lab.first_seen(session_id).values())
    assert seen == [[0], [0, 1], list(range(303))], Counter(kind_of(event) for event in lab.events({session_id}))
    assert [kind_of(event) for event in lab.events({session_id})].count("SessionEnded") == 1


def test_a_living_process_adopts_what_a_dead_one_left(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_ADOPT_EVERY_S", 0.05)
    lab.silence()
    agent = lab.agent("s = p.session(agent='a', durable=True).start()\nsay(s.session_id)\nwait()\n")
    session_id = said(agent)
    lab.wake()
    with lab.procurator() as procurator:
        procurator.connect()
        agent.kill()
        agent.wait()
        until(lambda: not list(lab.spool.rglob("*.seg")))
        assert lab.first_seen(session_id)
