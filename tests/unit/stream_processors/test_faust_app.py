"""Faust as we set it up, without a Kafka."""

import faust
from aiokafka.cluster import ClusterMetadata

from procurator.stream_processors.faust_app import Assignor

TOPIC = "events"


def test_partitions_are_assigned_before_a_restarted_kafka_names_its_topics() -> None:
    app = faust.App("group", broker="aiokafka://127.0.0.1:1", autodiscover=False, web_enabled=False)
    assignor = Assignor(app, 4)
    member = assignor.metadata({TOPIC})
    cluster = ClusterMetadata()
    assert cluster.partitions_for_topic(TOPIC) is None
    assigned = assignor.assign(cluster, {"one": member, "other": member})
    partitions = [partition for given in assigned.values() for _, held in given.assignment for partition in held]
    assert sorted(partitions) == [0, 1, 2, 3]
    assert all(given.assignment for given in assigned.values())
