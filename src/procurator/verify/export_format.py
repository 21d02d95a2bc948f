"""A session's export: its readable part, what no proof covers, and the bundle that proves the rest. Pure.

JSON, UTF-8, one object; `query_api/export/export.schema.json` is its schema, docs/export.md its description.
"""

import json
from collections.abc import Iterable
from typing import Any

import orjson

from procurator.note_keys import Verifier
from procurator.verify.bundle import signed_schemas, verify_bundle
from procurator.verify.bundle_format import FORMAT as BUNDLE_FORMAT
from procurator.verify.bundle_format import Bundle, BundleError, load_document, parse, render
from procurator.verify.readable import readable
from procurator.verify.report import Report

FORMAT = "procurator-session-export/1"
PROVEN = ("session", "turns", "tool_calls", "model_calls", "events")
_NAMES = {"format", "session_id", *PROVEN, "not_proven", "bundle"}


def render_export(bundle: Bundle, not_proven: dict[str, Any]) -> bytes:
    """Return the bytes of an export's file. ``not_proven`` says what does not follow from the events."""
    head = {
        "format": FORMAT,
        "session_id": bundle.session_id,
        **readable(bundle, signed_schemas(bundle, Report())),
        "not_proven": not_proven,
    }
    return b'%b,"bundle":%b}\n' % (orjson.dumps(head)[:-1], render(bundle).rstrip())


def verify_file(data: bytes, keys: Iterable[Verifier]) -> Report:
    """Return everything found in a file that is a bundle or an export.

    Of an export, the bundle is verified and the readable part derived from it again. What no proof covers is said to be
    so, whatever it is.
    """
    try:
        document = load_document(data, floats=True)
    except BundleError:
        document = None  # `verify_bundle` says what is wrong with it
    if not isinstance(document, dict) or document.get("format") == BUNDLE_FORMAT or "bundle" not in document:
        return verify_bundle(data, keys)
    report = Report()
    if document.get("format") != FORMAT or document.keys() != _NAMES:
        report.cannot_tell("malformed", "export", f"is no {FORMAT}: it must have exactly {', '.join(sorted(_NAMES))}")
        return report
    inner = json.dumps(document["bundle"], ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    report = verify_bundle(inner, keys)
    try:
        bundle = parse(inner)
    except BundleError:
        return report
    _compare(document, bundle, report)
    return report


def _compare(document: dict[str, Any], bundle: Bundle, report: Report) -> None:
    if document["session_id"] != bundle.session_id:
        report.tampered("readable_part", "session_id", "is not the session that the bundle proves")
    derived = json.loads(orjson.dumps(readable(bundle, signed_schemas(bundle, Report()))))
    for name in PROVEN:
        where = _difference(name, document[name], derived[name])
        if where is not None:
            report.tampered("readable_part", where, "is not what the events in the bundle say")
    report.incomplete("not_covered_by_the_proof", "not_proven", len(document["not_proven"]))


def _difference(where: str, given: Any, derived: Any) -> str | None:
    """Return the path to the first difference, None when there is none."""
    if type(given) is not type(derived):
        return where
    if isinstance(given, dict):
        if given.keys() != derived.keys():
            return where
        pairs: Iterable[tuple[str, Any, Any]] = ((f"{where}.{name}", given[name], derived[name]) for name in derived)
    elif isinstance(given, list):
        if len(given) != len(derived):
            return where
        pairs = ((f"{where}[{at}]", given[at], derived[at]) for at in range(len(derived)))
    else:
        return None if given == derived else where
    return next((found for path, a, b in pairs if (found := _difference(path, a, b)) is not None), None)
