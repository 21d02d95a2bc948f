"""One transactional writer at a time, on a real broker."""

from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from procurator.deploy.embedded.stack import Stack
from procurator.errors import Fatal
from procurator.kafka_transactions import Outgoing, TransactionalWriter


@pytest.mark.parametrize("records", [1, 50_000])
def test_a_writer_says_that_another_was_opened_whatever_it_was_doing(broker_stack: Stack, records: int) -> None:
    """With many records it learns of the other while it hands them to its client, not when it commits."""
    topic, transactional_id = f"written-{uuid4().hex}", uuid4().hex
    admin = AdminClient({"bootstrap.servers": broker_stack.kafka})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
    first, second = (TransactionalWriter(broker_stack.kafka, transactional_id, "writer of this test") for _ in range(2))
    first.open()
    first.write([Outgoing(topic, "k", b"v")])
    second.open()
    with pytest.raises(Fatal, match="another writer of this test has started"):
        first.write([Outgoing(topic, "k", b"v")] * records)
    second.write([Outgoing(topic, "k", b"v")])
