"""Attacks on a real ledger, edited behind the server's back: each is found, with what and where; clean ones are not.

An attack is SQL that an administrator of ClickHouse runs on a copy. ``$LEAF`` stands for a new leaf hash that the
attacker computes correctly, so that the row by itself looks right.
"""

from collections.abc import Callable
from typing import Any

import pytest

from procurator.checkpoint import Checkpoint, Signer, sign_checkpoint
from procurator.clickhouse import ClickHouse
from procurator.key_files import load_signer
from procurator.leaf import entry_leaf_hash
from procurator.verify.report import Report, Verdict
from procurator.verify.trust import claimed

Verified = Callable[..., Report]

#: One entry in the middle of a log: of the first log, the one whose leaf index is 40.
TARGET = "log_id = (SELECT min(log_id) FROM events) AND leaf_index = 40"
FIRST_LOG = "log_id = (SELECT min(log_id) FROM events)"
OTHER_LOG = "log_id = (SELECT max(log_id) FROM events)"
#: One that is not the last of its log.
A_SESSION = "session_id = (SELECT session_id FROM events WHERE kind = 'SessionEnded' ORDER BY leaf_index LIMIT 1)"
ONE = "event_id = (SELECT event_id FROM events WHERE {0} ORDER BY event_id LIMIT 1)"
TURN = ONE.format("kind = 'TurnRecorded' AND content != ''")
TURN_WITH_THE = ONE.format("kind = 'TurnRecorded' AND content LIKE '% the %'")
CALL = ONE.format("kind = 'ModelCallCompleted'")
COPY = "* EXCEPT (late)"
INSERT = "INSERT INTO events (* EXCEPT (late))"
THE_WORD = "replaceAll({0}, ' the ', ' teh ')"


def update(what: str, where: str, table: str = "events") -> str:
    return f"ALTER TABLE {table} UPDATE {what} WHERE {where} SETTINGS mutations_sync = 2"


def delete(where: str, table: str = "events") -> str:
    return f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 2"


#: name → (statements, what the verifier says, all of it among the findings)
ATTACKS: dict[str, tuple[list[str], set[str]]] = {
    "edit a stored leaf hash": (
        [update("leaf_hash = unhex(repeat('ab', 32))", TARGET)], {"leaf_differs", "tree_differs"}),
    "edit a payload's bytes": ([update("value = concat(value, 'x')", TARGET)], {"leaf_differs"}),
    "edit one word of a turn in bytes and column": (
        [update(f"value = {THE_WORD.format('value')}, content = {THE_WORD.format('content')}", TURN_WITH_THE)],
        {"leaf_differs"},
    ),
    "edit only the shown content": ([update("content = 'I approve'", TURN)], {"column_differs"}),
    "edit only the cost": ([update("cost_usd = 0.000001", CALL)], {"column_differs"}),
    "inflate what a cache saved": ([update("cache_saved_usd = 1", CALL)], {"column_differs"}),
    "hide what a cache saved": ([update("cache_saved_usd = NULL", CALL)], {"column_differs"}),
    "make a call unpriced": ([update("cost_usd = NULL, price_version = ''", CALL)], {"column_differs"}),
    "edit only the tokens": ([update("output_tokens = output_tokens + 1", CALL)], {"column_differs"}),
    "edit only the model": ([update("model = 'cheaper'", CALL)], {"column_differs"}),
    "move an event to another team": ([update("owner_team_id = 'mine'", TURN)], {"column_differs"}),
    "move an event to another organisation": ([update("org_id = 'other'", TURN)], {"column_differs"}),
    "backdate what a column shows": ([update("occurred_at = occurred_at - 86400", TURN)], {"column_differs"}),
    "backdate the broker's time": (
        ["CREATE TABLE moved AS events", f"INSERT INTO moved (* EXCEPT (late)) SELECT {COPY} REPLACE"
         f" (if({TARGET}, broker_time - INTERVAL 1 DAY, broker_time) AS broker_time) FROM events",
         "EXCHANGE TABLES events AND moved", "DROP TABLE moved"],
        {"leaf_differs"},
    ),
    "edit a key": ([update("key = 'someone-else'", TARGET)], {"leaf_differs"}),
    "null a value without a record of erasure": ([update("value = NULL, content = NULL", TURN)], {"leaf_differs"}),
    "hide an event by a flag": ([update("flags = ['repeated']", TURN)], {"column_differs"}),
    "hide an event as rejected": (
        [update("flags = ['rejected'], rejected_reason = 'undecodable'", TURN)], {"column_differs"}),
    "unhide a rejected record": ([update("flags = []", "has(flags, 'rejected')")], {"column_differs"}),
    "reword why a record was rejected": (
        [update("rejected_message = 'fine'", "has(flags, 'rejected')")], {"column_differs"}),
    "show a failed tool call as success": (
        [update("status = 'SUCCESS', error_message = NULL", "kind = 'ToolCallCompleted' AND status = 'ERROR'")],
        {"column_differs"},
    ),
    "delete a row": ([delete(TARGET)], {"missing"}),
    "delete a row with a lightweight delete": (
        ["ALTER TABLE events MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild'",
         f"DELETE FROM events WHERE {TARGET} SETTINGS lightweight_deletes_sync = 2"],
        {"entries_differ", "missing"},  # the projection goes on showing the row
    ),
    "delete a session": ([delete(A_SESSION)], {"missing"}),
    "delete a log": ([delete(FIRST_LOG)], {"cut_off"}),
    "delete everything": (["TRUNCATE TABLE events"], {"cut_off"}),
    "delete the newest rows of a log": ([delete(f"{FIRST_LOG} AND leaf_index > 50")], {"cut_off"}),
    "delete the oldest rows of a log": ([delete(f"{FIRST_LOG} AND leaf_index < 5")], {"missing"}),
    "drop a day": (["ALTER TABLE events DROP PARTITION ID 'all'" , delete("1")], {"cut_off"}),
    "delete a row and close the gap": (
        [delete(TARGET), update("leaf_index = leaf_index - 1", f"{FIRST_LOG} AND leaf_index > 40")],
        {"leaf_differs", "cut_off"},
    ),
    "duplicate a row": ([f"{INSERT} SELECT {COPY} FROM events WHERE {TARGET}"], {"duplicated"}),
    "duplicate a session at new offsets": (
        [f"{INSERT} SELECT {COPY} REPLACE (offset + 100000 AS offset) FROM events WHERE {A_SESSION}"],
        {"inserted", "leaf_differs"},
    ),
    "insert an entry between two": (
        [f"{INSERT} SELECT {COPY} REPLACE (41 AS leaf_index) FROM events AS e WHERE {FIRST_LOG} AND e.leaf_index = 40"],
        {"duplicated", "leaf_differs"},
    ),
    "swap the bytes of two entries": (
        [f"ALTER TABLE events UPDATE value = if(leaf_index = 40,"
         f" (SELECT value FROM events WHERE {FIRST_LOG} AND leaf_index = 41),"
         f" (SELECT value FROM events WHERE {FIRST_LOG} AND leaf_index = 40))"
         f" WHERE {FIRST_LOG} AND leaf_index IN (40, 41) SETTINGS mutations_sync = 2"],
        {"leaf_differs"},
    ),
    "swap the places of two entries": (
        [update("leaf_index = 81 - leaf_index", f"{FIRST_LOG} AND leaf_index IN (40, 41)")],
        {"missing", "leaf_differs"},
    ),
    "transplant an event into another session": (
        ["CREATE TABLE moved AS events", f"INSERT INTO moved (* EXCEPT (late)) SELECT {COPY} REPLACE (if({TARGET},"
         f" (SELECT max(session_id) FROM events), session_id) AS session_id) FROM events",
         "EXCHANGE TABLES events AND moved", "DROP TABLE moved"],
        {"column_differs"},
    ),
    "give a log's rows to another log": (
        ["CREATE TABLE moved AS events", f"INSERT INTO moved (* EXCEPT (late)) SELECT {COPY} REPLACE (if({TARGET},"
         f" (SELECT max(log_id) FROM events), log_id) AS log_id) FROM events",
         "EXCHANGE TABLES events AND moved", "DROP TABLE moved"],
        {"missing", "leaf_differs"},
    ),
    "exchange two logs": (
        ["CREATE TABLE moved AS events", f"INSERT INTO moved (* EXCEPT (late)) SELECT {COPY} REPLACE (multiIf("
         f"{FIRST_LOG}, (SELECT max(log_id) FROM events), {OTHER_LOG}, (SELECT min(log_id) FROM events), log_id)"
         " AS log_id) FROM events", "EXCHANGE TABLES events AND moved", "DROP TABLE moved"],
        {"leaf_differs", "tree_differs"},
    ),
    "edit an epoch": ([update("value = concat(value, 'x')", "kind = 'Epoch' AND leaf_index > 2", "ledger_control")],
                      {"leaf_differs", "checkpoint_differs"}),
    "delete an epoch": ([delete("leaf_index = 2", "ledger_control")], {"missing"}),
    "cut the control log": ([delete("leaf_index > 2", "ledger_control")], {"cut_off"}),
    "empty the control log": (["TRUNCATE TABLE ledger_control"], {"cut_off"}),
    "edit a writer schema": (
        [update("value = replaceAll(value, 'session_id', 'sessian_id')", "kind = 'WriterSchema'", "ledger_control")],
        {"leaf_differs", "checkpoint_differs"},
    ),
    "forge an entry of the control log": (
        ["INSERT INTO ledger_control (* EXCEPT (late)) SELECT * EXCEPT (late) REPLACE (offset + 1000 AS offset)"
         " FROM ledger_control WHERE leaf_index = 1"],
        {"inserted"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_found(name: str, ledger: Any, verified: Verified) -> None:
    statements, expected = ATTACKS[name]
    with ledger.copy() as clickhouse:
        before = contents(clickhouse)
        for statement in statements:
            clickhouse.execute(statement)
        assert contents(clickhouse) != before, "the attack changed nothing"
        report = verified(clickhouse)
    assert report.verdict is Verdict.TAMPERED, report.to_json()
    assert expected <= {finding.what for finding in report.findings}, report.to_json()
    assert all(finding.where for finding in report.findings)


def contents(clickhouse: ClickHouse) -> list[Any]:
    """Something that differs when any row of the ledger's tables does."""
    tables = ("events", "ledger_control")
    digest = "SELECT count(), sum(cityHash64(tuple(* EXCEPT (late)))) FROM"
    return [clickhouse.rows(f"{digest} {table}") for table in tables]


def test_a_clean_ledger_is_sound(ledger: Any, verified: Verified) -> None:
    with ledger.copy() as clickhouse:
        report = verified(clickhouse)
    assert report.verdict is Verdict.SOUND, report.to_json()
    assert report.counts["entries"] == report.counts["leaves"] > 500


def test_what_merges_and_copies_do_is_no_tampering(ledger: Any, verified: Verified) -> None:
    with ledger.copy() as clickhouse:
        clickhouse.execute("OPTIMIZE TABLE events FINAL")
        assert verified(clickhouse).verdict is Verdict.SOUND
        clickhouse.execute("CREATE TABLE moved AS events")
        clickhouse.execute(f"INSERT INTO moved (* EXCEPT (late)) SELECT {COPY} FROM events")
        clickhouse.execute("EXCHANGE TABLES events AND moved")
        assert verified(clickhouse).verdict is Verdict.SOUND


def rewrite_leaf(clickhouse: ClickHouse, where: str) -> None:
    """Give the entries their right leaf hashes after an edit: what a careful attacker does."""
    rows = clickhouse.rows(
        "SELECT log_id, offset, leaf_index, toUnixTimestamp64Micro(broker_time), isNull(key), hex(ifNull(key, '')),"
        f" isNull(value), hex(ifNull(value, '')) FROM events WHERE {where}"
    )
    for log_id, offset, index, time_us, no_key, key, no_value, value in rows:
        key = None if no_key else bytes.fromhex(key)
        value = None if no_value else bytes.fromhex(value)
        leaf = entry_leaf_hash(log_id, index, offset, time_us, key, value)
        clickhouse.execute(
            update(f"leaf_hash = unhex('{leaf.hex()}')", f"log_id = '{log_id}' AND leaf_index = {index} AND {where}")
        )


def test_a_careful_edit_is_found_by_the_tree_and_dated(ledger: Any, verified: Verified) -> None:
    with ledger.copy() as clickhouse:
        clickhouse.execute(update("value = concat(substring(value, 1, length(value) - 1), 'x')", TARGET))
        rewrite_leaf(clickhouse, TARGET)
        report = verified(clickhouse)
    assert report.verdict is Verdict.TAMPERED
    (finding,) = (finding for finding in report.findings if finding.what == "tree_differs")
    assert "leaves " in finding.where
    assert finding.since
    assert "leaf_differs" not in {finding.what for finding in report.findings}


def test_rolling_the_whole_database_back_is_found_by_the_checkpoints(ledger: Any, verified: Verified) -> None:
    with ledger.copy() as clickhouse:
        clickhouse.execute(delete("leaf_index >= 2", "ledger_control"))
        clickhouse.execute("TRUNCATE TABLE events")
        assert "cut_off" in {finding.what for finding in verified(clickhouse).findings}
        # Rolled back together with the file of checkpoints it is consistent: only an anchor outside tells.
        notes = ledger.notes_of(clickhouse)
        assert verified(clickhouse, notes[:1]).verdict is Verdict.SOUND
        anchored = verified(clickhouse, [notes[0], notes[-1]])
    assert "cut_off" in {finding.what for finding in anchored.findings}


def test_a_forged_checkpoint_is_found(ledger: Any, verified: Verified) -> None:
    last = claimed(ledger.notes[-1])
    forged = Checkpoint(last.origin, last.size, bytes(32))
    stranger = sign_checkpoint(forged, Signer.generate("procurator.ledger"))
    with ledger.copy() as clickhouse:
        report = verified(clickhouse, [*ledger.notes_of(clickhouse), stranger])
    assert {finding.what for finding in report.findings} == {"checkpoint_signature"}


def test_two_views_signed_by_a_stolen_key_are_found(ledger: Any, verified: Verified) -> None:
    stolen = load_signer(ledger.data_dir / "sign" / "key")
    last = claimed(ledger.notes[-1])
    other_view = sign_checkpoint(Checkpoint(last.origin, last.size, bytes(32)), stolen)
    with ledger.copy() as clickhouse:
        report = verified(clickhouse, [*ledger.notes_of(clickhouse), other_view])
    assert {finding.what for finding in report.findings} == {"checkpoint_differs"}


def test_a_wrong_key_cannot_tell(ledger: Any, verified: Verified, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "key", Signer.generate("procurator.ledger").verifier)
    with ledger.copy() as clickhouse:
        report = verified(clickhouse)
    assert report.verdict is Verdict.CANNOT_TELL
    assert {finding.what for finding in report.findings} == {"no_checkpoint", "unknown_key"}


def test_a_changed_signature_is_found(ledger: Any, verified: Verified) -> None:
    with ledger.copy() as clickhouse:
        first, *rest = ledger.notes_of(clickhouse)
        note = bytearray(rest[-1])
        note[-10] ^= 1
        report = verified(clickhouse, [first, *rest[:-1], bytes(note)])
    assert report.verdict is Verdict.TAMPERED


def test_a_checkpoint_of_another_ledger_is_found(ledger: Any, verified: Verified) -> None:
    other = sign_checkpoint(
        Checkpoint("procurator.ledger/00000000-0000-4000-8000-000000000000", 1, bytes(32)), Signer.generate("x")
    )
    with ledger.copy() as clickhouse:
        report = verified(clickhouse, [*ledger.notes_of(clickhouse), other])
    assert {finding.what for finding in report.findings} == {"another_ledger"}


def test_rows_of_a_log_that_was_never_signed_cannot_be_told(ledger: Any, verified: Verified) -> None:
    with ledger.copy() as clickhouse:
        clickhouse.execute(
            f"INSERT INTO events (* EXCEPT (late)) SELECT {COPY} REPLACE"
            " ('00000000-0000-4000-8000-000000000000:0' AS log_id) FROM events LIMIT 3"
        )
        report = verified(clickhouse)
    assert report.verdict is Verdict.CANNOT_TELL
    assert {finding.what for finding in report.findings} == {"unsigned_log"}
