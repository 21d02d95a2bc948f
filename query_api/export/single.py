"""One session as a file that proves itself (docs/export.md). Pure but for reading the schema."""

from functools import cache
from importlib import resources
from typing import Any

import orjson

from procurator.query_api.queries.base import Row
from procurator.verify.bundle_format import Bundle


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of an export."""
    text = resources.files("procurator.query_api.export").joinpath("export.schema.json").read_bytes()
    document: dict[str, Any] = orjson.loads(text)
    return document


def not_proven(bundle: Bundle, session: Row, charges: list[Row], entries: int, exported_at: str) -> dict[str, Any]:
    """Return what an export says beside what its bundle proves.

    ``session`` is the session as the API shows it, ``charges`` what the ledger charged for its model calls,
    ``entries`` how many entries it has in the ledger.
    """
    return {
        "exported_at": exported_at,
        "status": session["status"],
        "unsigned_entries": max(0, entries - sum(len(log.entries) for log in bundle.logs)),
        "cost_usd": session["cost_usd"],
        "priced_calls": session["priced_calls"],
        "unpriced_calls": session["unpriced_calls"],
        "charges": charges,
    }
