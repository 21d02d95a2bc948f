"""The examples of the documentation run as they stand, on real Kafka."""

import json
import os
import re
import subprocess
import sys
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Producer

from procurator.avro_schemas.codec import load_schema
from procurator.bench import corpus
from procurator.deploy.embedded.stack import Stack
from procurator.kafka import Topics, producer_config
from procurator.registry import Registry
from procurator.topics import CONTROL, SESSION_EVENTS

ROOT = Path(__file__).parents[2]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / "docs" / page).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


@pytest.fixture(scope="module")
def environment(broker_stack: Stack) -> dict[str, str]:
    registry = Registry(broker_stack.registry_url)
    registry.register(load_schema("session_event"))
    registry.close()
    Topics(broker_stack.kafka).ensure([SESSION_EVENTS, CONTROL], 4, 1)
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PROCURATOR_KAFKA_BOOTSTRAP_SERVERS": broker_stack.kafka,
        "PROCURATOR_SCHEMA_REGISTRY_URL": broker_stack.registry_url,
    }


def test_the_sdk_page_runs(environment: dict[str, str]) -> None:
    script = "\n".join(blocks("sdk.md", "python"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_importing_page_runs(environment: dict[str, str]) -> None:
    commands = [line for block in blocks("importing.md", "sh") for line in block.splitlines()]
    assert len(commands) == 3
    for command in commands:
        done = subprocess.run(command.split(), capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert "sample-chat.json" in done.stdout


def test_the_topic_consumers_page_runs(environment: dict[str, str], broker_stack: Stack) -> None:
    with closing(Registry(broker_stack.registry_url)) as registry:
        schema_id = registry.schema_id(load_schema("session_event"))
    (session,) = corpus.whole_sessions(1, seed=uuid.uuid4().int)
    key = session[0].session_id
    producer = Producer(producer_config(broker_stack.kafka))
    for event in session:
        producer.produce(SESSION_EVENTS.name, corpus.encode(event, schema_id), key)
    producer.produce(SESSION_EVENTS.name, b"no Avro", key)
    assert producer.flush(30) == 0

    (script,) = blocks("topic-consumers.md", "python")
    env = {**environment, "GROUP": f"siem-{uuid.uuid4()}"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    read = [line for line in map(json.loads, done.stdout.splitlines()) if line["key"] == key]
    records = [line["record"] for line in read if "record" in line]
    assert [record["event_id"] for record in records] == [event.record["event_id"] for event in session]
    assert [record["payload"][0] for record in records] == [event.record["payload"][0] for event in session]
    assert [line["undecodable"] for line in read if "undecodable" in line] == ["ValueError('no Confluent framing')"]
