"""How fast one core derives whole entries again: bytes against leaves, columns against bytes, as `verify ledger` does.

Pure: events of `procurator.bench.corpus` with the columns the sink gives them, in pages as ClickHouse sends them.
They come session by session, which is the order of the table. Processor time.
"""

from time import process_time
from typing import Any

import pyarrow as pa

from procurator.avro_schemas.codec import load_schema
from procurator.bench import corpus
from procurator.leaf import leaf_hashes
from procurator.pricing import PriceBook
from procurator.sink.rederive import Rederivation
from procurator.topics import SESSION_EVENTS
from procurator.verify.entries import Derivation, EntryAudit
from procurator.verify.late_schemas import LateSchemas
from procurator.verify.ranges import RangeSpool
from procurator.verify.report import Report, Verdict
from procurator.verify.source import ENTRIES_PAGE

_LOG = "00000000-0000-4000-8000-000000000000:0"
_SCHEMA_ID = 1


def rate(entries: int, seed: int = 0) -> int:
    """Return entries a second; AssertionError when the verifier finds fault with what the sink's code made."""
    pages = _pages(entries, seed)
    report = Report()
    derivation = Derivation(_derivation(), _derivation(), LateSchemas({}))
    with RangeSpool() as ranges:
        audit = EntryAudit("events", derivation, {_LOG: (0, entries)}, ranges, lambda _log, _index: "", report)
        began = process_time()
        for page in pages:
            audit.feed(page)
        seconds = process_time() - began
    if report.verdict is not Verdict.SOUND or report.counts["entries"] != entries:
        raise AssertionError(f"the verifier disagrees with the sink: {report.to_json()}")
    return round(entries / seconds)


def _derivation() -> Rederivation:
    def schema(_schema_id: int) -> str:
        return load_schema("session_event").text

    return Rederivation(schema, {_LOG: SESSION_EVENTS.name}, PriceBook())


def _pages(entries: int, seed: int) -> list[Any]:
    made = sorted(corpus.stream(entries, seed=seed), key=lambda event: event.session_id)
    keys: list[bytes | None] = [event.session_id.encode() for event in made]
    values: list[bytes | None] = [corpus.encode(event, _SCHEMA_ID) for event in made]
    derive = _derivation()
    pages = []
    for first in range(0, entries, ENTRIES_PAGE):
        part = slice(first, min(first + ENTRIES_PAGE, entries))
        places = list(range(part.start, part.stop))
        hashes = leaf_hashes(_LOG, part.start, places, places, keys[part], values[part])
        columns = {
            "log_id": pa.array([_LOG.encode()] * len(places), pa.binary()),
            "offset": pa.array(places, pa.uint64()),
            "leaf_index": pa.array(places, pa.uint64()),
            "leaf_hash": pa.array(hashes, pa.binary(32)),
            "broker_time_us": pa.array(places, pa.int64()),
            "key": pa.array(keys[part], pa.binary()),
            "value": pa.array(values[part], pa.binary()),
        }
        pages.append(pa.table({**columns, **derive(_LOG, places, places, keys[part], values[part])}))
    return pages
