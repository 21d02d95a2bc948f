"""The Faust app: group membership, fetching, flow control and commits around a `Worker`."""

import ssl
from pathlib import Path
from typing import Any

import faust
from faust.assignor.partition_assignor import PartitionAssignor
from faust.types import TP
from faust.types.auth import CredentialsT

from procurator.config import Settings, settings
from procurator.stream_processors.transport import Transport
from procurator.stream_processors.worker import Worker
from procurator.topics import MESSAGE_BYTES_MAX


class AsIs(faust.Schema):  # type: ignore[misc]
    """Messages are not decoded: the transport makes their values."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        return message.value


class Assignor(PartitionAssignor):  # type: ignore[misc]
    """Faust's, for topics of which ``partitions`` is known: a worker that leads the group need not have read it yet.

    A Kafka that has just been started may not say what topics it has. Faust's would then assign them to nobody, and
    every worker of the group would idle until the metadata is read again, five minutes later.
    """

    def __init__(self, app: faust.App, partitions: int) -> None:
        super().__init__(app)
        self._partitions = partitions

    def _get_copartitioned_groups(self, topics: set[str], _cluster: Any, subscriptions: Any) -> dict[int, Any]:
        return {self._partitions: self._group_co_subscribed(topics, subscriptions)}


def build_app(bootstrap_servers: str, group_id: str, data_dir: Path, worker: Worker) -> faust.App:
    """Return the app that feeds ``worker`` in batches and commits what it says. Faust wants a ``data_dir``."""
    data_dir.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        group_id,
        broker=[f"aiokafka://{server}" for server in bootstrap_servers.split(",")],
        broker_credentials=_credentials(settings()),
        datadir=str(data_dir),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MESSAGE_BYTES_MAX // 4,
        broker_commit_interval=1.0,
        # A worker that died is missed after this long; the broker's minimum.
        broker_session_timeout=6.0,
        broker_heartbeat_interval=2.0,
        # Memory: at most this many batches wait to be folded, and one fetch's are of this many records together. Small
        # batches must not fill it: from four fifths on Faust turns off the partition that a batch is of.
        stream_buffer_maxsize=16,
        broker_max_poll_records=2_000,
        stream_wait_empty=False,
    )
    app.assignor = Assignor(app, worker.partitions)
    app.transport = Transport(app.conf.broker_consumer, app, worker)
    worker.highwater = lambda partition: app.consumer.highwater(TP(worker.topic, partition))
    worker.assigned = lambda: [tp.partition for tp in app.consumer.assignment() if tp.topic == worker.topic]
    return app


def _credentials(chosen: Settings) -> CredentialsT | None:
    """Return in Faust's words what `procurator.kafka.client_config` says in librdkafka's; None: plain text."""
    if chosen.kafka_security_protocol == "PLAINTEXT":
        return None
    context = None
    if chosen.kafka_security_protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=chosen.kafka_ca_file and chosen.kafka_ca_file.expanduser())
    if not chosen.kafka_username:
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=chosen.kafka_username,
        password=chosen.kafka_password.get_secret_value(),
        ssl_context=context,
        mechanism=chosen.kafka_sasl_mechanism,
    )
