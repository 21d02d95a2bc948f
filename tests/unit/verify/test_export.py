"""Exports that strangers edited: the readable part is derived again from what the bundle proves."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from procurator.query_api.export.single import schema
from procurator.verify.bundle_format import render
from procurator.verify.export_format import render_export, verify_file
from procurator.verify.report import Report, Verdict

NOT_PROVEN = {
    "exported_at": "2026-11-22T16:08:00.000000Z",
    "status": "RUNNING",
    "unsigned_entries": 0,
    "cost_usd": "0.5",
    "priced_calls": 1,
    "unpriced_calls": 0,
    "charges": [],
}


@pytest.fixture(scope="module")
def model(make: Callable[[int], Any]) -> Any:
    return make(11)


@pytest.fixture
def bundle(model: Any) -> Any:
    return model.bundle(max(model.sessions, key=lambda each: model.sequences.get(each, -1)))


@pytest.fixture
def export(bundle: Any) -> Any:
    return json.loads(render_export(bundle, NOT_PROVEN))


def check(model: Any, document: Any) -> Report:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return verify_file(data, [model.first_key])


def test_an_export_is_sound_and_says_what_is_not_covered(model: Any, export: Any) -> None:
    report = check(model, export)
    assert report.verdict is Verdict.SOUND, report.to_json()
    assert report.counts["not_covered_by_the_proof"] == len(NOT_PROVEN)
    assert export["session"]["turns"] == len(export["turns"]) == len(export["events"])
    assert [turn["content"][:4] for turn in export["turns"]] == ["word"] * len(export["turns"])


def test_an_export_is_of_the_published_schema(export: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    validator = jsonschema.Draft202012Validator(schema(), format_checker=jsonschema.FormatChecker())
    assert list(validator.iter_errors(export)) == []
    export["turns"][0]["role"] = "ROBOT"
    assert not validator.is_valid(export)


def test_a_bundle_by_itself_is_verified_as_before(model: Any, bundle: Any) -> None:
    report = check(model, render(bundle))
    assert (report.verdict, report.counts["not_covered_by_the_proof"]) == (Verdict.SOUND, 0)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [found for name, item in value.items() for found in leaves(item, (*path, name))]
    if isinstance(value, list) and value:
        return [found for at, item in enumerate(value) for found in leaves(item, (*path, at))]
    return [path]


def test_any_edited_value_of_the_readable_part_is_found(model: Any, export: Any) -> None:
    paths = [path for name in ("session", "turns", "events") for path in leaves(export[name], (name,))]
    assert len(paths) > 100
    for path in paths[:: len(paths) // 25]:
        edited = json.loads(json.dumps(export))
        *way, last = path
        holder = edited
        for step in way:
            holder = holder[step]
        holder[last] = "edited" if holder[last] != "edited" else "other"
        report = check(model, edited)
        assert report.verdict is Verdict.TAMPERED, path
        [finding] = report.findings
        assert finding.what == "readable_part"
        assert finding.where.startswith(path[0])


EDITS: dict[str, Callable[[Any], Any]] = {
    "a turn left out": lambda e: e["turns"].pop(),
    "a turn made up": lambda e: e["turns"].append(e["turns"][0]),
    "another order": lambda e: e["turns"].reverse(),
    "a field left out": lambda e: e["turns"][0].pop("content"),
    "true for one": lambda e: e["turns"][1].update(turn_index=True),
    "another session": lambda e: e.update(session_id="0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d"),
}


@pytest.mark.parametrize("name", EDITS)
def test_other_edits_are_found(name: str, model: Any, export: Any) -> None:
    EDITS[name](export)
    assert check(model, export).verdict is Verdict.TAMPERED


MALFORMED: dict[str, Callable[[Any], Any]] = {
    "a field more": lambda e: e.update(cost_usd="0"),
    "a field less": lambda e: e.pop("not_proven"),
    "another version": lambda e: e.update(format="procurator-session-export/2"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_export_cannot_be_judged(name: str, model: Any, export: Any) -> None:
    MALFORMED[name](export)
    assert check(model, export).verdict is Verdict.CANNOT_TELL


def test_an_edited_bundle_is_found_whatever_the_readable_part_says(model: Any, export: Any) -> None:
    export["bundle"]["logs"][0]["entries"].pop()
    assert check(model, export).verdict is Verdict.TAMPERED
    export["bundle"] = "none"
    assert check(model, export).verdict is Verdict.CANNOT_TELL
