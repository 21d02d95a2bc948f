"""What a component counts, asked over HTTP as Prometheus does."""

import logging
import socket

import httpx
import pytest

from procurator import metrics
from procurator.config import Settings
from procurator.deploy.embedded.layout import free_ports


def test_what_was_counted_is_told_on_the_port_of_the_settings() -> None:
    [port] = free_ports(1)
    metrics.count_batch("topic.of.this.test", 7)
    metrics.count_batch("topic.of.this.test", 5)
    metrics.offer(Settings(metrics_port=port))
    page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).raise_for_status().text
    assert 'procurator_events_total{topic="topic.of.this.test"} 12.0' in page
    assert 'procurator_batches_total{topic="topic.of.this.test"} 2.0' in page


def test_a_port_that_is_taken_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, caplog.at_level(logging.WARNING):
        port = taken.getsockname()[1]
        metrics.offer(Settings(metrics_port=port))
    assert f"no metrics: cannot listen on 127.0.0.1:{port}: Address already in use" in caplog.text


def test_without_a_port_nobody_listens() -> None:
    metrics.offer(Settings())
