"""What runs on a ClickHouse cluster: read by the real engine; run on two shards of two replicas where Docker is."""

import json
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from procurator import events
from procurator.avro_schemas.codec import Decoder, load_schema
from procurator.clickhouse import ClickHouse
from procurator.deploy.embedded.layout import HOST, free_ports
from procurator.deploy.embedded.stack import Stack
from procurator.errors import Unavailable
from procurator.leaf import log_id
from procurator.pricing import PriceBook
from procurator.sink.blocks import Block, EventProjection, make_block
from procurator.sink.ledger import Head, Log
from procurator.sink.migrate import migrate, script
from procurator.sink.records import Record, Records
from procurator.sink.repeats import Repeats
from procurator.sink.store import LedgerStore

_DEPLOY = Path(__file__).parents[3] / "deploy"
_SERVERS = list(product("12", "12"))  # shard, replica
_PASSWORD = "of-this-test-alone"
_NEEDS_DOCKER = pytest.mark.skipif(
    os.environ.get("PROCURATOR_TEST_STACK") != "containers",
    reason="replicated tables need Keeper, which the engine in a process has not: PROCURATOR_TEST_STACK=containers",
)


def test_the_engine_can_read_every_statement(broker_stack: Stack) -> None:
    with closing(ClickHouse(broker_stack.clickhouse_url, "admin", broker_stack.admin_key, "default")) as clickhouse:
        for statement in script("ledger", "main"):
            ((formatted,),) = clickhouse.rows("SELECT formatQuery({sql:String})", {"sql": statement})
            assert "ON CLUSTER main" in formatted or formatted.startswith("INSERT")


class Servers:
    """Two shards of two replicas, of which any may be asked. The first runs Keeper."""

    def __init__(self, compose: Any, clients: dict[tuple[str, str], ClickHouse]) -> None:
        self.compose = compose
        self.clients = clients

    def store(self, shard: str, replica: str) -> LedgerStore:
        return LedgerStore(self.clients[shard, replica], "events")

    def held(self, log: Log) -> dict[tuple[str, str], int]:
        """Return how many entries of a log each server has itself, once none has any left to fetch."""
        sql = "SELECT count() FROM events_local WHERE log_id = {log_id:String}"
        for client in self.clients.values():
            client.execute("SYSTEM SYNC REPLICA events_local")
        return {place: client.rows(sql, {"log_id": log.log_id})[0][0] for place, client in self.clients.items()}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    from testcontainers.compose import DockerCompose

    folder = tmp_path_factory.mktemp("cluster")
    ports = dict(zip(_SERVERS, free_ports(len(_SERVERS)), strict=True))
    (folder / "compose.yaml").write_text(json.dumps(_compose(folder, ports)), "utf-8")
    with DockerCompose(folder, compose_file_name=str(folder / "compose.yaml")) as compose, ExitStack() as closings:
        clients = {
            place: closings.enter_context(
                closing(ClickHouse(f"http://{HOST}:{port}", "admin", _PASSWORD, "ledger", cluster="main"))
            )
            for place, port in ports.items()
        }
        migrate(clients["1", "1"])
        yield Servers(compose, clients)


def _compose(folder: Path, ports: dict[tuple[str, str], int]) -> dict[str, Any]:
    """Return a compose file with one service a server, each with its part of the configuration in ``folder``."""
    base = yaml.safe_load((_DEPLOY / "compose.yaml").read_text("utf-8"))["services"]["clickhouse"]
    services = {}
    for (shard, replica), port in ports.items():
        config = folder / f"{shard}-{replica}.yaml"
        config.write_text(json.dumps(_config(shard, replica)), "utf-8")
        services[_name(shard, replica)] = {
            "image": base["image"],
            "environment": {
                "CLICKHOUSE_USER": "admin",
                "CLICKHOUSE_PASSWORD": _PASSWORD,
                "CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT": "1",
            },
            "ports": [f"{HOST}:{port}:8123"],
            "volumes": [f"{config}:/etc/clickhouse-server/config.d/cluster.yaml:ro"],
            "healthcheck": base["healthcheck"],
        }
    return {"name": f"procurator-cluster-{min(ports.values())}", "services": services}


def _name(shard: str, replica: str) -> str:
    return f"clickhouse-{shard}-{replica}"


def _config(shard: str, replica: str) -> dict[str, Any]:
    """Return what a server is told of the cluster, as docs/production.md describes it."""
    shards = [
        {"internal_replication": True, "replica": [{"host": _name(s, r), "port": 9000} for r in "12"]} for s in "12"
    ]
    config: dict[str, Any] = {
        "remote_servers": {"main": {"secret": _PASSWORD, "shard": shards}},
        "macros": {"shard": shard, "replica": replica},
        "zookeeper": {"node": [{"host": _name("1", "1"), "port": 9181}]},
        "interserver_http_host": _name(shard, replica),
    }
    if (shard, replica) == ("1", "1"):
        raft = {"server": [{"id": 1, "hostname": _name("1", "1"), "port": 9234}]}
        config["keeper_server"] = {"tcp_port": 9181, "server_id": 1, "raft_configuration": raft}
    return config


def _block(log: Log, before: Head, count: int) -> Block:
    schema = load_schema("session_event")
    decoder = Decoder(schema, lambda _schema_id: schema.text)
    first = before.next_offset
    records = Records.of(
        Record(first + n, 1_790_000_000_000_000, None, b"record %d" % (first + n)) for n in range(count)
    )
    repeats = Repeats(lambda _offset, _sessions: {})
    return make_block(
        log, before, records, EventProjection(log, lambda value: events.parse(decoder, value), repeats, PriceBook)
    )


def _insert(store: LedgerStore, block: Block) -> None:
    store.insert(block, store.tail(block.log.log_id, block.before.next_offset)[1])


@_NEEDS_DOCKER
def test_a_log_is_on_one_shard_and_of_two_writers_one_is_dropped_whole(servers: Servers) -> None:
    topic = uuid.uuid4()
    for partition in range(4):
        log = Log("t", partition, log_id(topic, partition), 4)
        blocks = [_block(log, Head(log.log_id), 100), _block(log, Head(log.log_id), 150)]
        with ThreadPoolExecutor() as pool:
            list(pool.map(_insert, [servers.store("1", "2"), servers.store("2", "1")], blocks))
        heads = {store.read(log.log_id).head for store in map(servers.store, *zip(*_SERVERS, strict=True))}
        (head,) = heads
        assert head in {block.after for block in blocks}
        shard = "12"[partition % 2]
        assert servers.held(log) == {place: head.size * (place[0] == shard) for place in _SERVERS}


@_NEEDS_DOCKER
def test_without_a_majority_of_its_replicas_a_shard_takes_nothing_and_goes_on_later(servers: Servers) -> None:
    logs = [Log("t", partition, log_id(uuid.uuid4(), partition), 4) for partition in (1, 0)]
    lamed, other = (_block(log, Head(log.log_id), 10) for log in logs)
    away = servers.compose.docker_compose_command()
    servers.compose._run_command([*away, "stop", _name("2", "2")])
    with pytest.raises(Unavailable):
        _insert(servers.store("1", "1"), lamed)
    _insert(servers.store("1", "1"), other)
    servers.compose._run_command([*away, "up", "--wait", _name("2", "2")])
    _insert(servers.store("1", "1"), lamed)
    for log, block in zip(logs, (lamed, other), strict=True):
        assert servers.store("1", "1").read(log.log_id).head == block.after
        assert sum(servers.held(log).values()) == 2 * 10
