"""Whole ledgers in memory: clean ones are sound, whatever happened to them; no change of them goes unseen."""

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from procurator.avro_schemas.codec import load_schema
from procurator.control_entries import EPOCH, PURGE, WRITER_SCHEMA
from procurator.errors import UserError
from procurator.leaf import entry_leaf_hash
from procurator.signer.entries import epoch_payload
from procurator.verify.positions import Position
from procurator.verify.report import Verdict

Make = Callable[[int], Any]

MUTATIONS = int(os.environ.get("PROCURATOR_TEST_MUTATIONS", "500"))
SLICED = max(50, MUTATIONS // 10)
CLEAN = int(os.environ.get("PROCURATOR_TEST_CLEAN_LEDGERS", "100"))


def lived(make: Make, seed: int) -> Any:
    """A ledger with a past: rotated, purged, erased, its signer crashed, grown again, or none of it."""
    model, rng = make(seed), random.Random(seed)
    log_id = rng.choice(model.log_ids)
    size = len(model.hashes[log_id])
    for what in rng.sample(("rotate", "purge", "erase", "crash", "grow"), rng.randrange(6)):
        if what == "rotate":
            model.rotate()
        elif what == "purge" and size > 2:
            first = rng.randrange(size // 2)
            model.purge(log_id, first, rng.randrange(1, size // 2 + 1), completed=rng.random() < 0.7)
            size = 0
        elif what == "erase" and size > 2 and model.rows_of(log_id)[-1]["value"]:
            model.erase(log_id, model.rows_of(log_id)[-1]["leaf_index"])
        elif what == "crash":  # after an epoch was written and before it was signed; its checkpoint is signed again
            model.notes.append(model.notes[-1])
            model.add_control(EPOCH, epoch_payload(model.heads()))
        elif what == "grow":
            for _ in range(3):
                model.add_event()
        model.sign()
    return model


def interrupted(make: Make, seed: int) -> Any:
    """A ledger as it stands at some moment of its life: entries that are not signed yet, a purge half carried out."""
    model, rng = lived(make, seed), random.Random(~seed)
    log_id = max(model.log_ids, key=lambda each: len(model.rows_of(each)))
    before = list(model.rows)
    rows = model.rows_of(log_id)
    there = {each["leaf_index"] for each in rows}
    first = rows[len(rows) // 2]["leaf_index"]
    count = next((n for n in range(1, 6) if first + n not in there), 5)
    if all(row["value"] for row in rows):
        model.purge(log_id, first, count)
        model.sign()
        gone = [row for row in before if row not in model.rows]
        model.rows = [*model.rows, *rng.sample(gone, rng.randrange(len(gone) + 1))]
    for _ in range(rng.randrange(4)):
        model.add_event()
    return model


@pytest.mark.parametrize("seed", range(4))
def test_clean_ledgers_are_sound(make: Make, seed: int) -> None:
    for number in range(CLEAN // 4):
        live = interrupted if number % 4 == 0 else lived
        model = live(make, seed * 10_000 + number)
        model.rng.shuffle(model.rows)  # whichever sink wrote them, in whatever order
        report = model.verify()
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


@pytest.mark.parametrize("name", ["offset", "broker_time_us", "key", "leaf_index", "value_sha256"])
def test_what_is_left_of_an_erased_entry_is_still_proved(name: str, make: Make) -> None:
    model = make(8)
    row = next(row for row in reversed(model.rows) if row["value"])
    model.erase(row["log_id"].decode(), row["leaf_index"])
    model.sign()
    assert model.verify().verdict is Verdict.SOUND
    row[name] = bytes(32) if isinstance(row[name], bytes) else row[name] + 1
    assert model.verify().verdict is Verdict.TAMPERED


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


def test_a_verification_goes_on_where_the_last_one_ended(make: Make) -> None:
    for seed in range(12):
        model, kept = lived(make, seed), list[Position]()
        assert model.verify(keep=kept.append, slice_entries=5).verdict is Verdict.SOUND
        positions = [Position.parse(position.render(), "file") for position in kept]
        assert positions == kept
        for _ in range(10):
            model.add_event()
        model.sign()
        for position in positions:
            report = model.verify(start=position, slice_entries=7)
            assert report.verdict is Verdict.SOUND, (seed, report.to_json())
        report = model.verify(start=positions[-1])
        assert report.counts["leaves"] == 10


def test_slices_find_what_one_pass_finds(make: Make) -> None:
    model = lived(make, 3)
    rng = random.Random(17)
    for number in range(SLICED):
        rows, control, notes = [dict(row) for row in model.rows], list(model.control), list(model.notes)
        what = mutate(model, rng)
        assert model.verify(slice_entries=6).verdict is not Verdict.SOUND, (number, what)
        model.rows, model.control, model.notes = rows, control, notes


def test_an_edit_of_what_is_new_is_found_from_the_last_position(make: Make) -> None:
    model, kept = make(5), list[Position]()
    model.verify(keep=kept.append)
    for _ in range(10):
        model.add_event()
    model.sign()
    model.rows[-3]["value"] += b"x"
    assert "leaf_differs" in {finding.what for finding in model.verify(start=kept[-1]).findings}


def test_a_ledger_that_does_not_continue_what_was_verified_is_found(make: Make) -> None:
    model, kept = make(5), list[Position]()
    model.verify(keep=kept.append)
    model.control[0] = model.control[0]._replace(value=model.control[0].value + b"x")
    assert model.verify(start=kept[-1]).verdict is Verdict.TAMPERED
    other = make(6)
    with pytest.raises(UserError, match="the verification to go on from is of"):
        other.verify(start=kept[-1])


def test_nothing_is_kept_of_what_is_not_sound(make: Make) -> None:
    model, kept = make(5), list[Position]()
    model.rows[0]["value"] += b"x"
    model.verify(keep=kept.append)
    assert kept == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 1}', '{"version": 9, "origin": ""}'])
def test_a_damaged_position_says_so(text: str) -> None:
    with pytest.raises(UserError, match="start over with --full"):
        Position.parse(text, "file")


def test_a_purge_that_is_not_carried_out_is_sound_and_shown(make: Make) -> None:
    model = make(1)
    log_id = max(model.log_ids, key=lambda each: len(model.hashes[each]))
    rows = list(model.rows)
    model.purge(log_id, 1, 5)
    model.sign()
    left = list(model.rows)
    for going in (rows, rows[::2] + [row for row in left if row not in rows[::2]]):
        model.rows = going
        lingering = len(going) - len(left)
        report = model.verify()
        assert report.verdict is Verdict.SOUND, report.to_json()
        assert report.counts["purge_not_carried_out"] == lingering
        assert report.counts["entries_purged"] == 5 - lingering


def test_an_entry_that_lingers_must_still_be_what_was_signed(make: Make) -> None:
    model = make(1)
    log_id = max(model.log_ids, key=lambda each: len(model.hashes[each]))
    rows = list(model.rows)
    model.purge(log_id, 0, 4)
    model.sign()
    model.rows = rows
    row = next(row for row in rows if row["log_id"] == log_id.encode() and row["leaf_index"] == 2)
    row["value"] += b"x"
    assert "leaf_differs" in {finding.what for finding in model.verify().findings}
    row["leaf_hash"] = entry_leaf_hash(log_id, 2, row["offset"], row["broker_time_us"], row["key"], row["value"])
    assert "tree_differs" in {finding.what for finding in model.verify().findings}


def test_entries_that_come_back_after_their_purge_are_found(make: Make) -> None:
    model = make(1)
    log_id = max(model.log_ids, key=lambda each: len(model.hashes[each]))
    rows = list(model.rows)
    model.purge(log_id, 1, 5, completed=True)
    model.sign()
    assert model.verify().verdict is Verdict.SOUND
    model.rows = rows
    assert {finding.what for finding in model.verify().findings} == {"resurrected"}


def test_a_purges_second_entry_must_say_what_the_first_one_said(make: Make) -> None:
    model = make(1)
    purge = model.purge(model.log_ids[0], 0, 1)
    model.add_control(PURGE, {**purge, "ranges": [], "retained_hashes": [], "totals": "{1}", "completed": True})
    model.sign()
    assert {finding.what for finding in model.verify().findings} == {"purge_differs"}


def test_retained_hashes_that_were_altered_are_found(make: Make) -> None:
    model = make(1)
    log_id = max(model.log_ids, key=lambda each: len(model.hashes[each]))
    model.hashes[log_id][2] = bytes(32)  # what the purge is made from; the heads of later epochs as well
    model.purge(log_id, 1, 4)
    model.sign()
    assert "tree_differs" in {finding.what for finding in model.verify().findings}


class LateSchema:
    """A record with a schema id that nobody had registered, rejected; the schema comes later."""

    def __init__(self, model: Any) -> None:
        self.model = model
        model.add_event(schema_id=7)
        self.row = model.rows[-1]
        model.sign()

    def record(self, late: bool) -> None:
        schema = load_schema("session_event")
        self.model.time_us += 1_000_000
        payload = {"schema_id": 7, "subject": schema.name, "schema": schema.text, "late": late}
        self.model.add_control(WRITER_SCHEMA, payload)
        self.model.sign()


def test_a_record_rejected_before_its_schema_was_there_is_sound(make: Make) -> None:
    case = LateSchema(make(2))
    assert case.row["rejected_reason"] == "schema_unknown"
    assert case.model.verify().verdict is Verdict.SOUND
    case.record(late=True)
    report = case.model.verify()
    assert report.verdict is Verdict.SOUND, report.to_json()
    assert report.counts["entries_before_their_schema"] == 1


def test_whether_a_schema_was_there_in_time_cannot_be_told_unless_the_signer_says_so(make: Make) -> None:
    case = LateSchema(make(2))
    case.record(late=False)
    report = case.model.verify()
    assert {finding.what for finding in report.findings} == {"rejected_before_schema"}
    assert report.verdict is Verdict.CANNOT_TELL


def test_an_event_cannot_be_hidden_as_rejected_once_its_schema_is_recorded(make: Make) -> None:
    model = make(2)
    row = next(row for row in model.rows if row["value"] and row["kind"])
    rejected = LateSchema(make(3)).row
    names = set(model.types) - {"flags"}
    row.update({name: rejected[name] for name in names}, flags=["rejected"])
    assert "column_differs" in {finding.what for finding in model.verify().findings}


def test_an_entry_read_with_a_schema_that_is_recorded_nowhere_cannot_be_told(make: Make) -> None:
    model = make(2)
    unread = LateSchema(model).row
    read = next(row for row in model.rows if row["value"] and row["kind"])
    unread.update({name: read[name] for name in model.types})
    assert {finding.what for finding in model.verify().findings} == {"schema_unrecorded"}
