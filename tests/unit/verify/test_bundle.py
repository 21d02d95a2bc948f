"""Bundles that strangers made: malformed ones are refused by name, changed ones found, hostile ones cost nothing."""

import base64
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from procurator.checkpoint import Checkpoint, Signer, sign_checkpoint
from procurator.merkle import root_hash
from procurator.verify import bundle_format
from procurator.verify.bundle import verify_bundle
from procurator.verify.bundle_format import BundleError, parse, render
from procurator.verify.report import Report, Verdict

Make = Callable[[int], Any]
MUTATIONS = 500


@pytest.fixture(scope="module")
def model(make: Make) -> Any:
    return make(11)


@pytest.fixture
def bundle(model: Any) -> Any:
    session_id = max(model.sessions, key=lambda each: model.sequences.get(each, -1))
    return model.bundle(session_id)


def check(model: Any, bundle: Any) -> Report:
    return verify_bundle(bundle if isinstance(bundle, bytes) else render(bundle), [model.first_key])


def whats(report: Report) -> set[str]:
    return {finding.what for finding in report.findings}


def with_entries(bundle: Any, change: Callable[[list[Any]], None]) -> Any:
    log, *rest = bundle.logs
    entries = list(log.entries)
    change(entries)
    return replace(bundle, logs=(replace(log, entries=tuple(entries)), *rest))


def edit(bundle: Any, at: int, **fields: Any) -> Any:
    return with_entries(bundle, lambda entries: entries.__setitem__(at, replace(entries[at], **fields)))


def test_a_bundle_is_sound_and_reads_back(model: Any, bundle: Any) -> None:
    report = check(model, bundle)
    assert report.verdict is Verdict.SOUND, report.to_json()
    assert report.anchor == f"{model.origin} size {len(model.control)}"
    assert parse(render(bundle)) == bundle


ATTACKS: dict[str, tuple[Callable[[Any, Any], Any], set[str]]] = {
    "edit an event": (lambda m, b: edit(b, 1, value=b.logs[0].entries[1].value + b"x"), {"proof"}),
    "edit a key": (lambda m, b: edit(b, 1, key=b"other"), {"proof"}),
    "backdate an event": (lambda m, b: edit(b, 1, broker_time_us=1), {"proof"}),
    "move an event in Kafka": (lambda m, b: edit(b, 0, offset=10_000), {"proof"}),
    "null an event": (lambda m, b: edit(b, 0, value=None), {"proof", "unreadable"}),
    "leave an event out": (lambda m, b: with_entries(b, lambda e: e.pop(1)), {"proof"}),
    "leave the last event out": (lambda m, b: with_entries(b, lambda e: e.pop()), {"proof"}),
    "swap two events": (
        lambda m, b: edit(edit(b, 0, value=b.logs[0].entries[1].value), 1, value=b.logs[0].entries[0].value),
        {"proof"}),
    "cut the proof": (lambda m, b: replace(b, logs=(replace(b.logs[0], proof=b.logs[0].proof[:-1]),)), {"proof"}),
    "lengthen the proof": (
        lambda m, b: replace(b, logs=(replace(b.logs[0], proof=(*b.logs[0].proof, bytes(32))),)), {"proof"}),
    "reorder the proof": (lambda m, b: replace(b, logs=(replace(b.logs[0], proof=b.logs[0].proof[::-1]),)), {"proof"}),
    "claim another size of the log": (
        lambda m, b: replace(b, logs=(replace(b.logs[0], size=b.logs[0].size + 1),)), {"unsigned_head"}),
    "claim another log": (
        lambda m, b: replace(b, logs=(replace(b.logs[0], log_id=m.log_ids[0].replace(m.log_ids[0][:4], "0000")),)),
        {"unsigned_head"}),
    "claim another size of the control log": (
        lambda m, b: replace(b, control=replace(b.control, size=b.control.size - 1)), {"proof"}),
    "claim another session": (lambda m, b: replace(b, session_id=m.sessions[0][:-1] + "0"), {"transplanted"}),
    "edit the epoch": (
        lambda m, b: replace(b, control=replace(b.control, entries=(*b.control.entries[:-1],
                             replace(b.control.entries[-1], value=b.control.entries[-1].value[:-1] + b"x")))),
        {"proof"}),
    "leave the epoch out": (
        lambda m, b: replace(b, control=replace(b.control, entries=b.control.entries[:-1])), {"proof"}),
    "sign with one's own key": (
        lambda m, b: replace(b, checkpoint=sign_checkpoint(Checkpoint(
            m.origin, len(m.control), root_hash([row.leaf_hash for row in m.control])), Signer.generate("x"))),
        {"unknown_key"}),
    "sign another root with the key's name": (
        lambda m, b: replace(b, checkpoint=b.checkpoint.replace(b.checkpoint.split(b"\n")[2],
                                                               base64.b64encode(bytes(range(32))))),
        {"checkpoint_signature"}),
    "take another ledger's checkpoint": (
        lambda m, b: replace(b, checkpoint=sign_checkpoint(
            Checkpoint("procurator.ledger/00000000-0000-4000-8000-000000000000", 1, bytes(32)), m.signer)),
        {"another_ledger"}),
    "take an older checkpoint": (lambda m, b: replace(b, checkpoint=m.notes[0]), {"proof"}),
    "take a checkpoint of a log that is none": (
        lambda m, b: replace(b, checkpoint=sign_checkpoint(Checkpoint("../../etc/passwd", 1, bytes(32)), m.signer)),
        {"checkpoint_signature"}),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_on_a_bundle_is_found(name: str, model: Any, bundle: Any) -> None:
    attack, expected = ATTACKS[name]
    report = check(model, attack(model, bundle))
    assert report.verdict is not Verdict.SOUND
    assert expected <= whats(report), report.to_json()


def test_events_left_out_with_a_proof_to_match_cannot_be_told(model: Any, bundle: Any) -> None:
    left_out = [entry for at, entry in enumerate(bundle.logs[0].entries) if at != 1]
    log_id = bundle.logs[0].log_id
    log = model._bundle_log(log_id, model.hashes[log_id], tuple(left_out))
    report = check(model, replace(bundle, logs=(log,)))
    assert report.verdict is Verdict.CANNOT_TELL
    assert whats(report) == {"incomplete"}


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda b: b"", "not JSON"),
    "cut short": (lambda b: b[: len(b) // 2], "not JSON"),
    "two documents": (lambda b: b + b, "not JSON"),
    "not UTF-8": (lambda b: b.replace(b"procurator", b"\xff", 1), "not UTF-8 at byte"),
    "deep lists": (lambda b: b"[" * 1_000_000, "nested deeper than 8"),
    "deep objects": (lambda b: b'{"a":' * 1_000_000, "nested deeper than 8"),
    "a number of a million digits": (lambda b: b.replace(b'"size":', b'"size":' + b"9" * 1_000_000, 1), "not JSON"),
    "a float": (lambda b: b.replace(b'"size":', b'"size":1.5,"x":', 1), "not JSON"),
    "NaN": (lambda b: b.replace(b'"size":', b'"size":NaN,"x":', 1), "not JSON"),
    "a name twice": (lambda b: b.replace(b'"session_id":', b'"session_id":"","session_id":', 1), "twice in one object"),
    "a name too many": (lambda b: b.replace(b'"session_id":', b'"extra":1,"session_id":', 1), "object of exactly"),
    "another version": (lambda b: b.replace(b"bundle/1", b"bundle/2"), "format is not"),
    "compressed": (lambda b: __import__("gzip").compress(b), "not UTF-8 at byte 1"),
    "a negative number": (lambda b: b.replace(b'"size":', b'"size":-', 1), "integer from 0"),
    "a path for a session": (
        lambda b: json.dumps({**json.loads(b), "session_id": "../../etc/passwd"}).encode(), "session_id is no UUID"),
    "base64 with spaces": (
        lambda b: json.dumps({**json.loads(b), "logs": [{**json.loads(b)["logs"][0], "proof": ["AA AA"]}]}).encode(),
        "canonical base64"),
    "a short hash": (
        lambda b: json.dumps({**json.loads(b), "logs": [{**json.loads(b)["logs"][0], "proof": ["AAAA"]}]}).encode(),
        "hashes of 32 bytes"),
    "no entries": (
        lambda b: json.dumps({**json.loads(b), "logs": [{**json.loads(b)["logs"][0], "entries": []}]}).encode(),
        "must be there"),
    "a lone surrogate": (
        lambda b: json.dumps({**json.loads(b), "checkpoint": "\ud800"}).encode(), "UTF-8 can carry"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_quickly_and_by_name(name: str, model: Any, bundle: Any) -> None:
    change, message = HOSTILE[name]
    data = change(render(bundle))
    began = time.monotonic()
    with pytest.raises(BundleError, match=message):
        parse(data)
    assert time.monotonic() - began < 30
    assert check(model, data).verdict is Verdict.CANNOT_TELL


def test_an_oversized_file_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch, bundle: Any) -> None:
    monkeypatch.setattr(bundle_format, "BUNDLE_BYTES_MAX", 10)
    with pytest.raises(BundleError, match="more than a bundle may have"):
        parse(render(bundle))


def test_no_byte_can_be_changed(model: Any, bundle: Any) -> None:
    rng = random.Random(7)
    data = render(bundle)
    for _ in range(MUTATIONS):
        at, bit = rng.randrange(len(data) - 1), rng.randrange(8)
        changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        report = check(model, changed)
        same = False
        if report.verdict is Verdict.SOUND:  # white space, or an escape, in JSON: the same bundle
            same = parse(changed) == bundle
        assert report.verdict is not Verdict.SOUND or same, (at, bit)
