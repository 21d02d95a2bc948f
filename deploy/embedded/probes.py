"""IO: is it ready? Each probe answers at once or within a second, and never raises."""

import http.client
from collections.abc import Callable
from pathlib import Path

_TIMEOUT_S = 1.0

Probe = Callable[[], bool]


def http_ok(host: str, port: int, path: str) -> Probe:
    """Answer whether ``GET path`` is answered with 200. (http.client: no proxy from the environment.)"""

    def probe() -> bool:
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return probe


def kafka_ready(host: str, port: int) -> Probe:
    """Answer whether the broker tells a client about the cluster."""

    def probe() -> bool:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        client = AdminClient({"bootstrap.servers": f"{host}:{port}", "log_level": 0})
        try:
            return bool(client.list_topics(timeout=_TIMEOUT_S).brokers)
        except KafkaException:
            return False

    return probe


def file_exists(path: Path) -> Probe:
    """Answer whether the component has touched its ready file (``procurator.runtime.announce_ready``)."""
    return path.exists
