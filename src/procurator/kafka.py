"""IO: Kafka as this project uses it. Configurations of clients, topics as `procurator setup` makes them, topic ids."""

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from procurator.errors import Fatal, Unavailable
from procurator.topics import MESSAGE_BYTES_MAX, Topic

TIMEOUT_S = 15.0

#: What librdkafka says about connections is for whoever sets logging up; without, it would clutter a user's terminal.
librdkafka_log = logging.getLogger(f"{__name__}.librdkafka")
librdkafka_log.addHandler(logging.NullHandler())

_SECURITY = frozenset(
    f"PROCURATOR_KAFKA_{name}" for name in ("SECURITY_PROTOCOL", "SASL_MECHANISM", "USERNAME", "PASSWORD", "CA_FILE")
)

#: Topic and partition.
Place = tuple[str, int]
#: A partition's first offset, and the end of what a reader of committed records gets: the first offset not there yet.
Bounds = tuple[int, int]


def client_config(bootstrap_servers: str) -> dict[str, Any]:
    """Return what every client of librdkafka's needs: where Kafka is, where to log, and how to prove who we are.

    The latter from the settings, of a process as a whole: PROCURATOR_KAFKA_SECURITY_PROTOCOL and what goes with it.
    Without the logger librdkafka would write to standard error by itself.
    """
    config: dict[str, Any] = {"bootstrap.servers": bootstrap_servers, "logger": librdkafka_log}
    if _SECURITY.isdisjoint(name.upper() for name in os.environ):
        return config
    # Only now: validating all settings costs 13 MB, which most agents can do without.
    from procurator.config import settings

    chosen = settings()
    if chosen.kafka_security_protocol == "PLAINTEXT":
        return config
    config["security.protocol"] = chosen.kafka_security_protocol
    if chosen.kafka_ca_file is not None:
        config["ssl.ca.location"] = str(chosen.kafka_ca_file.expanduser())
    if chosen.kafka_username:
        config["sasl.mechanisms"] = chosen.kafka_sasl_mechanism
        config["sasl.username"] = chosen.kafka_username
        config["sasl.password"] = chosen.kafka_password.get_secret_value()
    return config


def producer_config(bootstrap_servers: str, **overrides: Any) -> dict[str, Any]:
    """Return librdkafka's configuration of every producer of ours: nothing lost, order kept, Java's partitioner."""
    return {
        **client_config(bootstrap_servers),
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "message.max.bytes": MESSAGE_BYTES_MAX,
        "linger.ms": 5,
        **overrides,
    }


def consumer_config(bootstrap_servers: str, group_id: str, **overrides: Any) -> dict[str, Any]:
    """Return librdkafka's configuration of a consumer whose position is kept elsewhere than in Kafka.

    ``auto.offset.reset=error``: a position that Kafka no longer has is for the caller to judge, never skipped.
    """
    return {
        **client_config(bootstrap_servers),
        "group.id": group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "fetch.message.max.bytes": MESSAGE_BYTES_MAX,
        "fetch.max.bytes": 4 * MESSAGE_BYTES_MAX,
        **overrides,
    }


class Topics:
    """Topics of one cluster. Every method raises Unavailable while the cluster does not answer.

    Threads may share it. Each holds the client that it asked until it has been answered: another may take a new one
    meanwhile (`_unavailable`), and what a client has not answered when it is let go is never answered.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._admin = self._connected()

    def describe(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        """Return topic id (canonical UUID text) and number of partitions of each topic that exists."""
        admin = self._admin
        futures = admin.describe_topics(TopicCollection(list(names)), request_timeout=TIMEOUT_S)
        found = {}
        for name, future in futures.items():
            try:
                description = future.result()
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue
                raise self._unavailable(error) from error
            found[name] = (uuid_text(description.topic_id), len(description.partitions))
        return found

    def bounds(self, places: Iterable[Place]) -> dict[Place, Bounds]:
        """Return where each partition starts and ends; raises Unavailable for one that is not there, too.

        Three requests for all of them, over a connection of its own. A consumer that is asked the same
        (`get_watermark_offsets`) answers behind its own fetches, partition by partition: half a second for each.
        """
        partitions = [TopicPartition(*place) for place in places]
        if not partitions:
            return {}
        self._reach()
        starts, ends = (self._offsets(partitions, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
        return {place: (start, ends[place]) for place, start in starts.items()}

    def _offsets(self, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[Place, int]:
        admin = self._admin
        futures = admin.list_offsets(
            dict.fromkeys(partitions, spec),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=TIMEOUT_S,
        )
        try:
            return {(at.topic, at.partition): future.result().offset for at, future in futures.items()}
        except KafkaException as error:
            raise self._unavailable(error) from error

    def _connected(self) -> AdminClient:
        # Warnings and worse: when it is let go it tells at length of answers that nobody waits for.
        return AdminClient({**client_config(self._bootstrap_servers), "log_level": 4})

    def ensure(self, topics: Iterable[Topic], partitions: int, replication_factor: int) -> list[str]:
        """Create the topics that do not exist and return their names; those that exist are checked, not changed.

        Raises Fatal when a topic exists with another number of partitions: keys would move between logs.
        """
        wanted = {topic.name: topic for topic in topics}
        existing = self.describe(wanted)
        for name, (_, count) in existing.items():
            expected = wanted[name].partitions or partitions
            if count != expected:
                raise Fatal(f"topic {name} has {count} partitions, not {expected}: growth is a new topic version")
        new = [
            NewTopic(
                name,
                num_partitions=topic.partitions or partitions,
                replication_factor=replication_factor,
                config=_creation_config(topic.config, replication_factor),
            )
            for name, topic in wanted.items()
            if name not in existing
        ]
        created = []
        admin = self._admin
        for name, future in admin.create_topics(new, operation_timeout=TIMEOUT_S).items() if new else ():
            try:
                future.result()
                created.append(name)
            except KafkaException as error:
                # Another `setup` at the same time made it: its configuration is the same as ours.
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self._unavailable(error) from error
        return created

    def configs(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the configuration in force of each topic, all of which exist."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not resources:
            return {}
        admin = self._admin
        futures = admin.describe_configs(resources, request_timeout=TIMEOUT_S)
        try:
            return {
                resource.name: {key: str(entry.value) for key, entry in future.result().items()}
                for resource, future in futures.items()
            }
        except KafkaException as error:
            raise self._unavailable(error) from error

    def _reach(self) -> None:
        """Wait until a broker answers: a request for offsets does not wait, see `_unavailable`. Raises Unavailable."""
        self._admin.poll(0)  # What it has to say goes to the log only when it is asked.
        try:
            self._admin.list_topics(timeout=TIMEOUT_S)
        except KafkaException as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: KafkaException) -> Unavailable:
        """Return what to raise, having taken a new client.

        The old one would send its requests to the broker that it knew again and again, on a whole processor, while that
        is away; and goes on asking by the leader epochs that it learned first, which a restarted broker refuses for
        ever. A new client waits for a broker asleep, and asks for what is now.
        """
        self._admin = self._connected()
        return Unavailable(f"Kafka at {self._bootstrap_servers}: {error.args[0].str()}")


def uuid_text(topic_id: Any) -> str:
    """Return the canonical text of confluent-kafka's Uuid: Kafka shows it in base64, which is case-sensitive."""
    most = topic_id.get_most_significant_bits() & (1 << 64) - 1
    least = topic_id.get_least_significant_bits() & (1 << 64) - 1
    digits = f"{most << 64 | least:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _creation_config(config: Mapping[str, str], replication_factor: int) -> dict[str, str]:
    # Two in-sync copies before an acknowledgement, where there are replicas to have them on.
    return {**config, "min.insync.replicas": "2" if replication_factor >= 3 else "1"}
