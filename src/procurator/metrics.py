"""What sink, stream, signer and forwarder count about themselves, and the port on which Prometheus may ask them.

Counted once a batch, so that nothing is paid for a record. With ``PROCURATOR_METRICS_PORT`` 0 nobody can ask, and
counting costs next to nothing. The API has figures of its own, at ``GET /metrics``.

Every process has every figure here, also of what it never does. What would then say something untrue is a `Report`,
and where an alert asks whether a figure grew, its labels are there from the start: growth is seen from a 0 on.
"""

import logging
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram, Metric, start_http_server

from procurator.config import Settings

_log = logging.getLogger(__name__)


class Report(Gauge):
    """A figure that is told from when it was first set: a 0 would be a time in 1970, a size, a verdict."""

    _is_set = False

    def set(self, value: float) -> None:
        super().set(value)
        self._is_set = True

    def collect(self) -> Iterable[Metric]:
        return super().collect() if self._is_set else self.describe()


EVENTS = Counter("procurator_events", "Records processed.", ("topic",))
BATCHES = Counter("procurator_batches", "Batches processed.", ("topic",))
BATCH_RECORDS = Histogram(
    "procurator_batch_records", "Records of one batch.", ("topic",), buckets=(1, 10, 100, 1_000, 10_000, 50_000)
)
INSERT_SECONDS = Histogram("procurator_insert_seconds", "From sending a block until it is read back.", ("table",))
LAG = Gauge("procurator_lag_records", "Records that wait in Kafka.", ("topic", "partition"))
OUTAGES = Counter("procurator_outages", "Times that work was begun anew because a neighbour was away or had moved on.")
LOST_OFFSETS = Counter(
    "procurator_lost_offsets", "Offsets that Kafka no longer had before they were in the ledger.", ("topic",)
)
DEAD_LETTERS = Counter("procurator_dead_letters", "Records that can never be processed, by reason.", ("reason",))
CHECKPOINT_TIME = Report("procurator_checkpoint_time_seconds", "When the last checkpoint was signed, Unix time.")
CHECKPOINT_SIZE = Report("procurator_checkpoint_size", "Entries of the control log in the last checkpoint.")

BUDGET_SPENT = Gauge(
    "procurator_budget_spent_ratio", "What is spent of a budget's limit in its period.", ("org_id", "budget_id")
)
#: From ten milliseconds to ten seconds: what must act in time.
_SOON = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
EVENT_AGE_SECONDS = Histogram(
    "procurator_event_age_seconds", "From Kafka's time of a batch's last record until it is folded.", buckets=_SOON
)
SIGNAL_SECONDS = Histogram(
    "procurator_signal_seconds",
    "From what a signal follows from until it is sent, by cause.",
    ("cause",),
    buckets=_SOON,
)
UNPRICED_CALLS = Counter("procurator_unpriced_calls", "Completed model calls that have no price.")
VERIFICATION = Report(
    "procurator_verification_status", "What the watcher found last: 0 sound, 1 tampered, 2 it cannot tell."
)
VERIFICATION_TIME = Report("procurator_verification_time_seconds", "When the watcher last looked, Unix time.")
RETENTION_TIME = Report("procurator_retention_time_seconds", "When the last run of the retention ended, Unix time.")
RETENTION_FAILURES = Counter("procurator_retention_failures", "Runs of the retention that came to nothing.")
PURGED_SESSIONS = Counter("procurator_purged_sessions", "Sessions that retention has removed.")


def count_batch(topic: str, records: int) -> None:
    """Count one batch of ``records``."""
    EVENTS.labels(topic).inc(records)
    BATCHES.labels(topic).inc()
    BATCH_RECORDS.labels(topic).observe(records)


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
