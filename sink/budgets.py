"""IO: the statuses of budgets into the table ``budget_status``, their history.

A row of the same budget, period, minute and number of crossings is replaced by a later one, so writing a status twice
changes nothing. Where to read on is what the group has committed.
"""

import logging
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, KafkaException

from procurator import metrics
from procurator.avro_schemas.codec import Decoder, Record, load_schema, to_decimal
from procurator.clickhouse import ClickHouse
from procurator.errors import Rejected, Unavailable
from procurator.registry import Registry
from procurator.runtime import Stop
from procurator.sink import arrow
from procurator.sink.rows import Columns
from procurator.topics import BUDGET_STATUS

_log = logging.getLogger(__name__)

_FETCH_MAX = 5_000
_FETCH_S = 0.25
_RETRY_S = 1.0
#: Budgets that the metrics show: each is a series of its own.
_SHOWN_MAX = 1_000
_CROSSING = pa.struct(
    [
        ("fraction", pa.decimal128(38, 18)),
        ("action", pa.string()),
        ("crossed_at", arrow.TIMESTAMP),
        ("dry_run", pa.bool_()),
    ]
)


class BudgetHistory:
    """Keeps ``budget_status`` up to date with the partitions of the status topic that the group gives this process."""

    def __init__(self, consumer: Consumer, registry: Registry, clickhouse: ClickHouse, stop: Stop) -> None:
        self._consumer = consumer
        self._clickhouse = clickhouse
        self._stop = stop
        self._decoder = Decoder(load_schema(BUDGET_STATUS.schema), registry.fetch)
        self._shown: set[tuple[str, str]] = set()

    # Insert, then commit. Dying in between repeats the insert, which changes nothing.
    def run(self) -> None:
        """Work until the stop is set. Raises Fatal or UserError when going on cannot help."""
        self._consumer.subscribe([BUDGET_STATUS.name])
        try:
            while not self._stop.is_set():
                messages = self._consumer.consume(_FETCH_MAX, _FETCH_S)
                values = [m.value() for m in messages if m.error() is None and m.value() is not None]
                while values and not self._stop.is_set():
                    try:
                        self._insert(values)
                        break
                    except Unavailable as outage:
                        _log.warning("budgets: %s; pausing", outage)
                        self._stop.wait(_RETRY_S)
                if values and not self._stop.is_set():
                    self._commit()
        finally:
            self._consumer.close()

    def _insert(self, values: list[bytes]) -> None:
        records = []
        for value in values:
            try:
                records.append(self._decoder.decode(value))
            except Rejected as why:
                _log.warning("budgets: a status is passed over: %s", why)
        if records:
            columns = status_columns(records)
            self._clickhouse.insert("budget_status", list(columns), arrow.ipc_stream(columns))
            self._show(records)

    def _show(self, records: Sequence[Record]) -> None:
        """Show how much of each budget is spent; sessions' own, which are without number, are left to the table."""
        metrics.count_batch(BUDGET_STATUS.name, len(records))
        for record in records:
            limit = to_decimal(record["limit"])
            budget = record["org_id"], record["budget_id"]
            if record["session_id"] is None and limit and (budget in self._shown or len(self._shown) < _SHOWN_MAX):
                self._shown.add(budget)
                metrics.BUDGET_SPENT.labels(*budget).set(float(to_decimal(record["spent"]) / limit))

    def _commit(self) -> None:
        try:
            self._consumer.commit(offsets=self._consumer.position(self._consumer.assignment()), asynchronous=False)
        except KafkaException as error:  # what is read again is inserted again, which changes nothing
            _log.warning("budgets: the position was not committed: %s", error.args[0].str())


def status_columns(records: Sequence[Record]) -> Columns:
    """Return the columns of ``budget_status``."""

    def column(name: str, type_: Any) -> arrow.Array:
        return pa.array([record[name] for record in records], type_)

    return {
        **{name: column(name, pa.string()) for name in ("budget_id", "org_id", "unit")},
        "session_id": arrow.optional_uuids([record["session_id"] for record in records]),
        **{name: column(name, pa.int64()) for name in ("definition_version", "unpriced_tokens")},
        **{
            name: column(name, pa.int64()).cast(arrow.TIMESTAMP)
            for name in ("period_start", "period_end", "updated_at")
        },
        **{
            name: arrow.money([to_decimal(record[name]) for record in records])
            for name in ("limit", "spent", "reserved")
        },
        "crossed": pa.array(
            [
                [{**crossing, "fraction": to_decimal(crossing["fraction"])} for crossing in record["crossed"]]
                for record in records
            ],
            pa.list_(_CROSSING),
        ),
        "exhausted": column("exhausted", pa.bool_()),
    }
