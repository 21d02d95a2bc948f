"""What sink, stream and signer count about themselves, and the port on which Prometheus may ask them.

Counted once a batch, so that nothing is paid for a record. With ``PROCURATOR_METRICS_PORT`` 0 nobody can ask, and
counting costs next to nothing. The API has figures of its own, at ``GET /metrics``.
"""

import logging

from prometheus_client import Counter, Gauge, start_http_server

from procurator.config import Settings

_log = logging.getLogger(__name__)

EVENTS = Counter("procurator_events", "Records processed.", ("topic",))
BATCHES = Counter("procurator_batches", "Batches processed.", ("topic",))
LAG = Gauge("procurator_lag_records", "Records that wait in Kafka.", ("topic", "partition"))
OUTAGES = Counter("procurator_outages", "Times that work was begun anew because a neighbour was away or had moved on.")
DEAD_LETTERS = Counter("procurator_dead_letters", "Records that can never be processed, by reason.", ("reason",))
CHECKPOINT_TIME = Gauge("procurator_checkpoint_time_seconds", "When the last checkpoint was signed, Unix time.")
CHECKPOINT_SIZE = Gauge("procurator_checkpoint_size", "Entries of the control log in the last checkpoint.")


def count_batch(topic: str, records: int) -> None:
    """Count one batch of ``records``."""
    EVENTS.labels(topic).inc(records)
    BATCHES.labels(topic).inc()


def offer(settings: Settings) -> None:
    """Answer ``GET /metrics`` on the settings' host and port, in a thread, until the process ends.

    A port that is taken is a warning: the ledger does not wait for its figures.
    """
    if not settings.metrics_port:
        return
    try:
        start_http_server(settings.metrics_port, settings.metrics_host)
    except OSError as error:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        _log.warning("no metrics: cannot listen on %s: %s; set PROCURATOR_METRICS_PORT", where, error.strerror)
