"""A Kafka and a registry of its own: the signer reads every ledgered topic, so it cannot share them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from procurator.avro_schemas.codec import load_schema
from procurator.deploy.embedded.layout import Ports
from procurator.deploy.embedded.stack import Stack, StackConfig
from procurator.errors import Unavailable
from procurator.kafka import Topics, producer_config
from procurator.registry import Registry
from procurator.signer.policy import SigningPolicy
from procurator.signer.worker import SignerConfig
from procurator.topics import TOPICS

Publish = Callable[..., None]


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("signer-stack")
    with Stack(StackConfig(folder, Ports.free(), frozenset({"kafka", "registry"}), say=print)) as stack:
        registry = Registry(stack.registry_url)
        for topic in TOPICS:
            registry.register(load_schema(topic.schema))
        registry.close()
        yield stack


@pytest.fixture
def config(brokers: Stack, tmp_path: Path) -> Iterator[SignerConfig]:
    """A new ledger: new topics, no key, no state; an epoch whenever there is news."""
    create_topics(brokers.kafka)
    yield SignerConfig(
        bootstrap_servers=brokers.kafka,
        registry_url=brokers.registry_url,
        folder=tmp_path / "sign",
        key_file=tmp_path / "sign" / "key",
        checkpoints_file=tmp_path / "checkpoints",
        policy=SigningPolicy(news_s=0.0, heartbeat_s=3600.0),
    )
    delete_topics(brokers.kafka)


def delete_topics(bootstrap_servers: str, *names: str) -> None:
    """Delete topics (all of ours by default) and wait until they are gone."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    wanted = list(names) or [topic.name for topic in TOPICS]
    for future in admin.delete_topics(wanted, operation_timeout=30).values():
        future.result()
    topics = Topics(bootstrap_servers)
    while topics.describe(wanted):
        pass


def await_leaders(topics: Topics) -> None:
    """Wait until every partition has a leader that says where it ends: a topic is shown a moment before that."""
    described = topics.describe([topic.name for topic in TOPICS])
    while True:
        try:
            topics.bounds((name, n) for name, (_, count) in described.items() for n in range(count))
        except Unavailable:
            continue
        return


def create_topics(bootstrap_servers: str) -> None:
    """Create the topics that are not there, and wait until the broker shows them."""
    topics = Topics(bootstrap_servers)
    topics.ensure(TOPICS, partitions=2, replication_factor=1)
    while len(topics.describe([topic.name for topic in TOPICS])) < len(TOPICS):
        pass
    await_leaders(topics)


@pytest.fixture
def recreate(brokers: Stack) -> Callable[[str], None]:
    """Delete a topic and create it again."""

    def again(name: str) -> None:
        delete_topics(brokers.kafka, name)
        create_topics(brokers.kafka)

    return again


@pytest.fixture
def publish(brokers: Stack) -> Publish:
    """Publish raw values to a partition and wait for their acknowledgement."""

    def send(topic: str, *values: bytes | None, partition: int = 0) -> None:
        producer = Producer(producer_config(brokers.kafka))
        for value in values:
            producer.produce(topic, value, b"key", partition)
        assert producer.flush(30) == 0

    return send
