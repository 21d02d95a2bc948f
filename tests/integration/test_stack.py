"""The stack as tests and ``demo`` use it: a killed server comes back, with what it had acknowledged."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from procurator.config import settings
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.provision import Provisions
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.deploy.embedded.warm import is_warm, warm
from procurator.errors import UserError


def register(stack: Stack, subject: str, schema: str) -> int:
    answer = httpx.post(f"{stack.registry_url}/subjects/{subject}/versions", json={"schema": schema}, timeout=30)
    return int(answer.raise_for_status().json()["id"])


def test_a_schema_acknowledged_just_before_kill_9_is_kept(broker_stack: Stack) -> None:
    ids = {}
    for size in range(1, 4):
        ids[size] = register(broker_stack, f"kill-{size}", f'{{"type": "fixed", "name": "F", "size": {size}}}')
        broker_stack.restart("registry", signal.SIGKILL)
    for size, schema_id in ids.items():
        answer = httpx.get(f"{broker_stack.registry_url}/schemas/ids/{schema_id}", timeout=30)
        assert json.loads(answer.json()["schema"])["size"] == size
    assert len(set(ids.values())) == 3


def test_a_killed_broker_comes_back_with_its_topics(broker_stack: Stack) -> None:
    admin = AdminClient({"bootstrap.servers": broker_stack.kafka, "log_level": 0})
    admin.create_topics([NewTopic("survives-kill", 2)])["survives-kill"].result(30)
    before = broker_stack.pid("kafka")
    starts = broker_stack.starts("kafka")
    broker_stack.kill("kafka", signal.SIGKILL)
    broker_stack.await_ready("kafka", starts + 1)
    assert broker_stack.pid("kafka") != before
    assert len(admin.list_topics("survives-kill", timeout=30).topics["survives-kill"].partitions) == 2


def test_a_topic_is_not_created_by_asking_for_it(broker_stack: Stack) -> None:
    admin = AdminClient({"bootstrap.servers": broker_stack.kafka})
    admin.list_topics("never-created", timeout=30)
    assert "never-created" not in admin.list_topics(timeout=30).topics


def test_start_caches_are_recorded_and_used(tmp_path: Path) -> None:
    installed, provisions = settings().cache_dir.expanduser(), Provisions(tmp_path / "cache")
    provisions.cache_dir.mkdir()
    for part in (provisions.maven_dir, provisions.registry_dir):
        part.symlink_to(installed / part.name)
    assert not is_warm(provisions)
    warm(provisions, pytest.fail)
    assert is_warm(provisions)
    assert [path for path in provisions.cache_dir.iterdir() if path.name.startswith(".")] == []
    config = StackConfig(tmp_path, Ports.free(), frozenset({"kafka", "registry"}), provisions.cache_dir)
    with Stack(config) as stack:
        for name in ("kafka", "registry"):
            log = stack.log(name).read_text()
            assert f"-XX:AOTCache={provisions.start_cache(name)}" in log
            assert "error][aot" not in log


def test_the_admin_key_may_be_given_at_the_first_start_only(tmp_path: Path) -> None:
    said: list[str] = []
    first = StackConfig(tmp_path, Ports.free(), frozenset({"registry"}), admin_key="first", say=said.append)
    with Stack(first) as stack:
        assert stack.admin_key == "first"
        assert stack.env()["PROCURATOR_CLICKHOUSE_PASSWORD"] == "first"
        with pytest.raises(UserError, match="^kafka is not part of this stack$"):
            stack.pid("kafka")
    assert not [line for line in said if "first" in line]
    with Stack(replace(first, admin_key="second")) as stack:
        assert stack.admin_key == "first"
    assert [line for line in said if line.startswith("PROCURATOR_ADMIN_KEY is ignored")]
