"""IO: completed model calls out of the ledger, their corrections into their sessions' logs, and that into the audit."""

import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any
from uuid import uuid4

from procurator.access import NO_ORGANISATION
from procurator.audit_events import ALLOWED, AuditEvent
from procurator.avro_schemas.codec import Record, load_schema
from procurator.clickhouse import ClickHouse
from procurator.clock import now_us
from procurator.events import TOKEN_BUCKETS, SessionEvent
from procurator.kafka_writing import write_all
from procurator.price_corrections import EMITTER_ID, Charged, Revision
from procurator.price_record import PriceRecord
from procurator.pricing import Usage
from procurator.reconcile import NO_SESSION
from procurator.registry import Registry
from procurator.topics import AUDIT, SESSION_EVENTS, Topic

_PAGE = 20_000

#: One page of calls after a place, with what each session and each call has been corrected by so far.
_CALLS = f"""
WITH page AS (
  SELECT * FROM events
  WHERE kind = 'ModelCallCompleted' AND counted AND startsWith(log_id, {{topic_id:String}})
    AND broker_time >= fromUnixTimestamp64Micro({{from_us:Int64}}, 'UTC')
    AND broker_time < fromUnixTimestamp64Micro({{until_us:Int64}}, 'UTC')
    AND (session_id, log_id, offset) > ({{session_id:UUID}}, {{log_id:String}}, {{offset:UInt64}})
  ORDER BY session_id, log_id, offset LIMIT {_PAGE}
), corrections AS (
  SELECT session_id, corrects_offset, cost_usd, emitter_id FROM events
  WHERE kind = 'CostCorrected' AND counted AND session_id IN (SELECT session_id FROM page)
)
SELECT toString(page.session_id), page.log_id, page.offset,
  toUnixTimestamp64Micro(page.broker_time), toUnixTimestamp64Micro(assumeNotNull(page.occurred_at)), page.imported,
  page.org_id, page.agent_id, page.owner_team_id, page.model_call_id, page.provider, page.model, page.turn_index,
  [{", ".join(f"page.{bucket}" for bucket in TOKEN_BUCKETS)}],
  toString(if(isNull(page.cost_usd) AND c.corrected = 0, NULL, ifNull(page.cost_usd, 0) + ifNull(c.usd, 0))),
  s.made
FROM page
LEFT JOIN (
  SELECT session_id, corrects_offset, sum(corrections.cost_usd) AS usd, count() AS corrected
  FROM corrections GROUP BY session_id, corrects_offset
) AS c ON c.session_id = page.session_id AND c.corrects_offset = page.offset
LEFT JOIN (
  SELECT session_id, countIf(emitter_id = '{EMITTER_ID}') AS made FROM corrections GROUP BY session_id
) AS s ON s.session_id = page.session_id
ORDER BY page.session_id, page.log_id, page.offset
"""


def charged_calls(clickhouse: ClickHouse, topic_id: str, revision: Revision) -> Iterator[Charged]:
    """Yield the completed model calls of the times that a revision is about, by session, in the order of their logs.

    Only those in logs of the topic ``topic_id``: of a topic that is gone nothing can be corrected any more.
    """
    params: dict[str, str | int] = {
        "topic_id": f"{topic_id}:",
        "from_us": revision.from_us,
        "until_us": revision.until_us,
        "session_id": NO_SESSION,
        "log_id": "",
        "offset": 0,
    }
    while True:
        rows = clickhouse.rows(_CALLS, params)
        yield from map(_charged, rows)
        if len(rows) < _PAGE:
            return
        params |= dict(zip(("session_id", "log_id", "offset"), rows[-1], strict=False))


def _charged(row: list[Any]) -> Charged:
    session_id, _, offset, *described, tokens, usd, made = row
    return Charged._make(
        (session_id, offset, *described, Usage._make(tokens), None if usd is None else Decimal(usd), made)
    )


def announce(
    bootstrap_servers: str, registry: Registry, records: Iterable[PriceRecord], by: str, details: Mapping[str, str]
) -> None:
    """Write to the audit that ``by`` corrects to the prices of ``records``; return when Kafka has confirmed it.

    Before anything is appended, and under the one organisation that they are all of, if there is one.
    Raises Unavailable when Kafka did not confirm it: then nothing must be appended.
    """
    of_whom = {record.org_id or NO_ORGANISATION for record in records}
    event: AuditEvent = {
        "event_id": str(uuid4()),
        "emitter_id": f"cli:{socket.gethostname()}:{uuid4()}",
        "sequence": 0,
        "occurred_at": now_us(),
        "nonce": os.urandom(16),
        "org_id": of_whom.pop() if len(of_whom) == 1 else NO_ORGANISATION,
        "principal": by,
        "action": "prices.correct",
        "outcome": ALLOWED,
        "resource": None,
        "owner_team_id": None,
        "purpose": None,
        "filter": None,
        "item_count": None,
        "request_id": None,
        "remote_address": None,
        "details": json.dumps(details, sort_keys=True),
    }
    _publish(bootstrap_servers, registry, AUDIT, [(by, dict(event))], "the audit event")


def append(bootstrap_servers: str, registry: Registry, corrected: Iterable[SessionEvent]) -> None:
    """Append events to their sessions' logs; return when Kafka has confirmed them all.

    Raises Unavailable when it did not: the same run again, once the ledger has what was taken, appends the rest.
    """
    records = ((event["session_id"], dict(event)) for event in corrected)
    _publish(bootstrap_servers, registry, SESSION_EVENTS, records, "corrections")


def _publish(
    bootstrap_servers: str, registry: Registry, topic: Topic, records: Iterable[tuple[str, Record]], what: str
) -> None:
    schema = load_schema(topic.schema)
    schema_id = registry.schema_id(schema)
    written = ((topic.name, key, schema.encode(record, schema_id)) for key, record in records)
    write_all(bootstrap_servers, written, what)
