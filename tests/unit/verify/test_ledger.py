"""Whole ledgers in memory: clean ones are sound, whatever happened to them; no change of them goes unseen."""

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from procurator.verify.report import Verdict

Make = Callable[[int], Any]

MUTATIONS = int(os.environ.get("PROCURATOR_TEST_MUTATIONS", "500"))
CLEAN = int(os.environ.get("PROCURATOR_TEST_CLEAN_LEDGERS", "100"))


def lived(make: Make, seed: int) -> Any:
    """A ledger with a past: rotated, purged, erased, grown again, or none of it."""
    model, rng = make(seed), random.Random(seed)
    log_id = rng.choice(model.log_ids)
    size = len(model.hashes[log_id])
    for what in rng.sample(("rotate", "purge", "erase", "grow"), rng.randrange(5)):
        if what == "rotate":
            model.rotate()
        elif what == "purge" and size > 2:
            first = rng.randrange(size // 2)
            model.purge(log_id, first, rng.randrange(1, size // 2 + 1))
            size = 0
        elif what == "erase" and size > 2 and model.rows_of(log_id)[-1]["value"]:
            model.erase(log_id, model.rows_of(log_id)[-1]["leaf_index"])
        elif what == "grow":
            for _ in range(3):
                model.add_event()
        model.sign()
    return model


@pytest.mark.parametrize("seed", range(4))
def test_clean_ledgers_are_sound(make: Make, seed: int) -> None:
    for number in range(CLEAN // 4):
        report = lived(make, seed * 10_000 + number).verify()
        assert report.verdict is Verdict.SOUND, (seed, number, report.to_json())


@pytest.mark.parametrize("seed", range(4))
def test_no_mutation_goes_unseen(make: Make, seed: int) -> None:
    model = lived(make, seed)
    assert model.verify().verdict is Verdict.SOUND
    rng = random.Random(seed)
    for number in range(MUTATIONS // 4):
        rows, control, notes = [dict(row) for row in model.rows], list(model.control), list(model.notes)
        what = mutate(model, rng)
        report = model.verify()
        assert report.verdict is not Verdict.SOUND, (seed, number, what)
        model.rows, model.control, model.notes = rows, control, notes


def mutate(model: Any, rng: random.Random) -> str:
    """Change one thing for good, and say what."""
    while True:
        before = (
            [dict(row) for row in model.rows],
            list(model.control),
            list(model.notes),
        )
        what = rng.choice(MUTATORS)(model, rng)
        if (model.rows, model.control, model.notes) != before:
            return str(what)


def flip(data: bytes, rng: random.Random) -> bytes:
    """One bit of some bytes, or a byte more."""
    if not data or rng.random() < 0.1:
        return data + b"x"
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def edit_entry(model: Any, rng: random.Random) -> str:
    row = rng.choice(model.rows)
    name = rng.choice(("leaf_hash", "key", "value", "offset", "leaf_index", "broker_time_us"))
    if name == "leaf_hash":
        at = rng.randrange(32)
        row[name] = row[name][:at] + bytes([row[name][at] ^ 1 << rng.randrange(8)]) + row[name][at + 1 :]
    elif isinstance(row[name], int):
        size = len(model.hashes[row["log_id"].decode()])
        row[name] = rng.randrange(size) if name == "leaf_index" else max(0, row[name] + rng.choice((-1, 1, 1000)))
    else:
        row[name] = flip(row[name] or b"", rng)
    return f"edit {name} of leaf {row['leaf_index']}"


def edit_column(model: Any, rng: random.Random) -> str:
    row = rng.choice([row for row in model.rows if row["value"]])
    name = rng.choice(("content", "org_id", "agent_id", "kind", "sequence", "role", "session_id", "flags", "event_id"))
    row[name] = rng.choice([other[name] for other in model.rows] + ([["repeated"]] if name == "flags" else []))
    return f"edit column {name} of leaf {row['leaf_index']}"


def delete_rows(model: Any, rng: random.Random) -> str:
    count = rng.randrange(1, 4)
    for _ in range(count):
        model.rows.remove(rng.choice(model.rows))
    return f"delete {count} rows"


def truncate(model: Any, rng: random.Random) -> str:
    log_id = rng.choice(model.log_ids).encode()
    end = rng.randrange(40)
    model.rows = [row for row in model.rows if row["log_id"] != log_id or row["leaf_index"] < end]
    return f"cut after leaf {end}"


def duplicate(model: Any, rng: random.Random) -> str:
    row = dict(rng.choice(model.rows))
    size = len(model.hashes[row["log_id"].decode()])
    row["leaf_index"] = rng.choice((row["leaf_index"], rng.randrange(size)))
    row["offset"] = rng.choice((row["offset"], rng.randrange(60)))
    model.rows.append(row)
    return "duplicate a row"


def swap_values(model: Any, rng: random.Random) -> str:
    one, other = rng.sample(model.rows, 2)
    one["value"], other["value"] = other["value"], one["value"]
    return "swap two values"


def transplant(model: Any, rng: random.Random) -> str:
    row = rng.choice(model.rows)
    row["log_id"] = next(log_id.encode() for log_id in model.log_ids if log_id.encode() != row["log_id"])
    row["leaf_index"] = rng.randrange(len(model.hashes[row["log_id"].decode()]))
    return "move a row to the other log"


def edit_control(model: Any, rng: random.Random) -> str:
    at = rng.randrange(len(model.control))
    row = model.control[at]
    name = rng.choice(("value", "leaf_hash", "broker_time_us", "offset", "leaf_index"))
    old = getattr(row, name)
    model.control[at] = row._replace(**{name: old + 1 if isinstance(old, int) else flip(old, rng)})
    return f"edit {name} of control leaf {at}"


def cut_control(model: Any, rng: random.Random) -> str:
    del model.control[rng.randrange(len(model.control)) :]
    return "cut the control log"


def delete_control(model: Any, rng: random.Random) -> str:
    del model.control[rng.randrange(len(model.control))]
    return "delete a control entry"


def edit_note(model: Any, rng: random.Random) -> str:
    at = rng.randrange(len(model.notes))
    model.notes[at] = flip(model.notes[at], rng)
    return f"edit checkpoint {at}"


MUTATORS: tuple[Callable[[Any, random.Random], str], ...] = (
    edit_entry,
    edit_entry,
    edit_column,
    delete_rows,
    truncate,
    duplicate,
    swap_values,
    transplant,
    edit_control,
    cut_control,
    delete_control,
    edit_note,
)


def test_purged_erased_and_missing_are_different_verdicts(make: Make) -> None:
    model = make(1)
    log_id = max(model.log_ids, key=lambda each: len(model.hashes[each]))
    model.purge(log_id, 2, 3)
    model.erase(log_id, 6)
    model.sign()
    report = model.verify()
    assert report.verdict is Verdict.SOUND
    assert (report.counts["entries_purged"], report.counts["entries_erased"]) == (3, 1)
    model.rows = [row for row in model.rows if row["log_id"] != log_id.encode() or row["leaf_index"] != 6]
    (finding,) = model.verify().findings
    assert (finding.what, finding.where) == ("missing", f"events log {log_id} leaves 6 to 6")


def test_an_erasure_without_its_entry_is_tampering(make: Make) -> None:
    model = make(2)
    row = next(row for row in model.rows if row["value"])
    row["value"] = row["content"] = None
    assert {finding.what for finding in model.verify().findings} == {"leaf_differs", "column_differs"}


def test_missing_sequence_numbers_are_no_tampering_but_shown(make: Make) -> None:
    model = make(3)
    model.sequences[model.sessions[0]] += 2
    model.add_event(model.sessions[0])
    model.sign()
    report = model.verify()
    assert report.verdict is Verdict.SOUND
    assert [(gap["what"], gap["count"]) for gap in report.completeness] == [("sequence_numbers_missing", 2)]


def test_an_old_keys_signature_after_its_rotation_is_a_forgery(make: Make) -> None:
    model = make(4)
    stolen = model.signer
    model.rotate()
    model.signer = stolen
    model.add_event()
    model.sign()
    assert {finding.what for finding in model.verify().findings} == {"checkpoint_signature"}


def test_a_rotation_that_the_old_key_did_not_sign_does_not_count(make: Make) -> None:
    model = make(5)
    signer = model.signer
    model.rotate()
    thief = model.signer
    model.notes.pop()
    model.sign()  # by the new key alone
    assert thief is not signer
    assert model.verify().verdict is Verdict.TAMPERED


def test_purging_under_a_hold_is_found(make: Make) -> None:
    from procurator.control_entries import LEGAL_HOLD

    model = make(6)
    hold = {
        "hold_id": model.sessions[0],
        "org_id": "acme",
        "session_ids": [model.sessions[0]],
        "requested_by": "counsel",
        "reason": "lawsuit",
    }
    model.add_control(LEGAL_HOLD, hold)
    model.purge(model.log_ids[0], 0, 1, [model.sessions[0]])
    model.sign()
    assert {finding.what for finding in model.verify().findings} == {"purged_under_hold"}


def test_a_forged_erasure_that_no_checkpoint_covers_allows_nothing(make: Make) -> None:
    model = make(7)
    row = next(row for row in model.rows if row["value"])
    model.erase(row["log_id"].decode(), row["leaf_index"])
    assert "leaf_differs" in {finding.what for finding in model.verify().findings}
    model.sign()
    assert model.verify().verdict is Verdict.SOUND


def test_an_erased_entry_that_shows_a_text_is_found(make: Make) -> None:
    model = make(8)
    row = next(row for row in model.rows if row["value"])
    model.erase(row["log_id"].decode(), row["leaf_index"])
    model.sign()
    row["content"] = "I confess"
    assert {finding.what for finding in model.verify().findings} == {"erased_entry_shows"}


def test_a_forged_purge_that_no_checkpoint_covers_allows_nothing(make: Make) -> None:
    model = make(9)
    model.purge(model.log_ids[0], 0, 2)
    assert "missing" in {finding.what for finding in model.verify().findings}
