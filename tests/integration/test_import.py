"""`procurator import` on real Kafka and a real registry: every message arrives as it stands, a repeat is the same."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.deploy.embedded.stack import Stack
from procurator.events import SessionEvent, kind_of, parse
from procurator.kafka import Topics, consumer_config
from procurator.partitioner import partition_of
from procurator.registry import Registry
from procurator.topics import SESSION_EVENTS

PARTITIONS = 4
SAMPLE = Path(__file__).parents[2] / "producers" / "samples" / "sample-chat.json"

Run = Callable[..., subprocess.CompletedProcess[str]]


class Ledger:
    """Reads the events topic from its beginning."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        registry = Registry(stack.registry_url)
        registry.register(load_schema("session_event"))
        registry.close()
        Topics(stack.kafka).ensure([SESSION_EVENTS], PARTITIONS, 1)

    def events(self, session_id: str) -> list[SessionEvent]:
        """Return a session's events; each stands in the partition that its key says."""
        registry = Registry(self.stack.registry_url)
        decoder = Decoder(load_schema("session_event"), registry.fetch)
        partition = partition_of(session_id, PARTITIONS)
        consumer = Consumer(consumer_config(self.stack.kafka, "test-import", **{"enable.partition.eof": True}))
        consumer.assign([TopicPartition(SESSION_EVENTS.name, partition, 0)])
        found = []
        while (message := consumer.poll(30)) is not None and not message.error():
            if message.key() == session_id.encode():
                found.append(parse(decoder, message.value()))
        consumer.close()
        registry.close()
        return found


@pytest.fixture(scope="module")
def ledger(broker_stack: Stack) -> Ledger:
    return Ledger(broker_stack)


@pytest.fixture
def run(ledger: Ledger, tmp_path: Path) -> Run:
    environment = {
        "PATH": "/usr/bin:/bin",
        "PROCURATOR_KAFKA_BOOTSTRAP_SERVERS": ledger.stack.kafka,
        "PROCURATOR_SCHEMA_REGISTRY_URL": ledger.stack.registry_url,
    }

    def run(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "procurator", "import", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env={**environment, **changed}, cwd=tmp_path, check=False
        )

    return run


def test_the_sample_arrives_message_by_message(run: Run, ledger: Ledger) -> None:
    # An organisation of its own makes sessions of its own: other tests import the sample too.
    arguments = (str(SAMPLE), "--json", "--org", "arrives")
    done = run(*arguments)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    (line,) = map(json.loads, done.stdout.splitlines())
    events = ledger.events(line["session_id"])
    assert line == {
        "source": str(SAMPLE),
        "position": 0,
        "session_id": line["session_id"],
        "events": len(events),
        "estimated": line["estimated"],
    }
    assert {"latency_ms", "status"} <= set(line["estimated"])
    source = json.loads(SAMPLE.read_text())["messages"]
    turns = [event["payload"][1] for event in events if kind_of(event) == "TurnRecorded"]
    assert [(turn["role"].lower(), turn["content"]) for turn in turns] == [
        (message["role"], message["content"] or "") for message in source
    ]
    assert [event["sequence"] for event in events] == list(range(len(events)))
    assert all(event["imported"] for event in events)

    again = run(*arguments)
    assert json.loads(again.stdout) == line
    repeated = ledger.events(line["session_id"])
    assert len(repeated) == 2 * len(events)
    assert [event["sequence"] for event in repeated] == [*range(len(events)), *range(len(events))]
    assert {event["emitter_id"] for event in repeated} == {"import"}


def test_damage_costs_only_what_it_is_in(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    def session(text: str) -> dict[str, Any]:
        return {"task_id": 1, "trial": 0, "traj": [{"role": "user", "content": text}], "info": {}, "reward": 1.0}

    whole = json.dumps([session("first"), {"task_id": 2}, session("third"), session("fourth")])
    cut = tmp_path / "cut.json.gz"
    cut.write_bytes(gzip.compress(whole[:-30].encode()))
    lines = tmp_path / "chats.jsonl"
    lines.write_text('{"messages": [{"role": "user", "content": "a"}]}\n{"messages": [{"role":\n[{"role": "user"}]\n')
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    done = run(str(cut), str(tmp_path / "none.json"), str(lines), str(other), "--json")
    assert done.returncode == 2
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(Path(line["source"]).name, line["position"]) for line in told] == [
        ("cut.json.gz", 0),
        ("cut.json.gz", 2),
        ("chats.jsonl", 0),
        ("chats.jsonl", 2),
    ]
    assert all(len(ledger.events(line["session_id"])) == line["events"] for line in told)
    errors = done.stderr.splitlines()
    assert len(errors) == 5
    assert errors[0].startswith(f"procurator: {cut}: record 1 (line 1): of no known format")
    assert f"{cut}: record 3, line 1, byte " in errors[1]
    assert "cut off (" in errors[1]
    assert errors[2].endswith("none.json: cannot be read: No such file or directory")
    assert f"{lines}: record 1, line 2, byte 71: cut off" in errors[3]
    assert errors[4] == f"procurator: {other}: record 0, line 1, byte 0: not JSON: Expecting value"


def test_what_cannot_be_reached_is_one_line(run: Run) -> None:
    done = run(str(SAMPLE), PROCURATOR_SCHEMA_REGISTRY_URL="http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("procurator: schema registry at http://127.0.0.1:9 does not answer")


def test_an_unknown_format_is_one_line(run: Run) -> None:
    done = run(str(SAMPLE), "--format", "xml")
    assert done.returncode == 2
    assert "'xml' is not one of" in done.stderr
    assert "Traceback" not in done.stderr
