"""A purge on a real ledger: what is due goes with an export and a signed record, the rest proves itself as before."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from procurator.budgets import Budget, Counter, Threshold
from procurator.budgets.spend import CounterKey
from procurator.clickhouse import ClickHouse
from procurator.clock import now_us
from procurator.erasure import Erasures
from procurator.errors import Fatal, UserError
from procurator.merkle import verify_inclusion
from procurator.producers import Procurator
from procurator.reconcile_budgets import reconcile_budgets
from procurator.reconcile_purges import reconcile_purges
from procurator.retention.archive import verify_archive
from procurator.retention.due import Due
from procurator.retention.holds import HoldFilter
from procurator.retention.policy import RetentionPolicy
from procurator.retention.purge import Purge, Purger
from procurator.retention.removal import Removal
from procurator.retention.run import Done, Parts, run
from procurator.verify.bundle import verify_bundle
from procurator.verify.bundle_format import render
from procurator.verify.report import Report, Verdict
from procurator.verify.seal import Sealer
from procurator.verify.source import LedgerSource

Verified = Callable[..., Report]
ORG = "short-lived"
#: Nothing but this organisation's sessions ever goes: the others are of other tests.
POLICY = RetentionPolicy(default_days=36_500, organisations={ORG: 0})
BUDGETS = {
    "b": Budget(
        "b", ORG, "Clerks", "AGENT", "clerk", "USD", Decimal(1), "LIFETIME", "UTC", (Threshold(Decimal(1), "WARN"),)
    )
}
REAL_ROWS = "INSERT INTO events (* EXCEPT (late)) SELECT * EXCEPT (late) FROM"


@dataclass
class Retention:
    """A retention of its own on the ledger, as role purger, and what it leaves on disk."""

    ledger: Any
    verified: Verified
    exports: Path
    admin: ClickHouse
    purger: ClickHouse

    def run(self, **fields: Any) -> Done:
        return run(self.parts, POLICY, self.purge(**fields), now_us())

    def purge(self, exports: bool = True) -> Purge:
        return Purge("test", "retention period", self.exports if exports else None)

    @property
    def parts(self) -> Parts:
        desk = self.ledger.desk(self.purger)
        removal = Removal(self.purger, desk, self.ledger.stack.kafka)
        notes = lambda: self.ledger.notes  # noqa: E731
        return Parts(self.purger, desk, removal, [self.ledger.key], notes, lambda: self.verified(self.purger))

    def sign_only(self) -> int:
        """What a run does up to the signature of its first purge, and then dies."""
        batch = next(Due(self.purger, POLICY, now_us()).batches([]))
        return self.signing().sign(batch)

    def signing(self) -> Purger:
        parts = self.parts
        sealer = Sealer(LedgerSource(self.purger))
        return Purger(self.purger, parts.desk, sealer, self.ledger.notes, parts.keys, self.purge())

    def sessions(self, count: int) -> list[str]:
        """Play sessions of the organisation and others in turns; return its ended ones once they are signed."""
        stack = self.ledger.stack
        before = len(self.ended())
        with (
            Procurator(kafka_bootstrap_servers=stack.kafka, schema_registry_url=stack.registry_url) as sdk,
            ExitStack() as playing,
        ):
            played = [
                playing.enter_context(
                    sdk.session(
                        agent="clerk", org_id=org, owner_team_id="desk", user="ada", labels={"case": str(number)}
                    )
                )
                for number in range(count)
                for org in (ORG, "acme")
            ]
            for _ in range(3):
                for session in played:
                    session.turn("user", "What did I spend?")
                    with session.model_call("openai", "gpt-4o") as call:
                        call.complete(input_tokens=120, output_tokens=35)
                    session.turn("assistant", "Let me see.")
        until_s = time.monotonic() + 120
        while len(self.ended()) < before + count:
            assert time.monotonic() < until_s, f"{len(self.ended())} of {before + count} sessions ended"
            time.sleep(0.1)
        self.ledger.await_signed(self.count("1"))
        while self.unsettled():
            assert time.monotonic() < until_s, "the sink has not settled its heads"
            time.sleep(0.1)
        return self.ended()

    def unsettled(self) -> int:
        """How many logs have entries that the sink might read again: of those nothing is purged."""
        ((logs,),) = self.admin.rows(
            "SELECT count() FROM (SELECT log_id, max(leaf_index) + 1 AS size FROM events GROUP BY log_id) AS there"
            " LEFT JOIN (SELECT log_id, max(size) AS settled FROM ledger_heads GROUP BY log_id) AS heads USING (log_id)"
            " WHERE there.size > heads.settled"
        )
        return int(logs)

    def counters(self) -> list[Counter]:
        """What a budget of the organisation's agent would have counted until now."""
        rows = self.admin.rows(
            "SELECT log_id, max(offset), toInt128(sum(cost_usd) * 1000000000000000000),"
            " sum(input_tokens + output_tokens) FROM events WHERE org_id = {org:String}"
            " AND kind = 'ModelCallCompleted' GROUP BY log_id",
            {"org": ORG},
        )
        return [
            Counter(CounterKey("b", 0, log_id), ORG, 0, last, int(attousd), int(tokens), 0)
            for log_id, last, attousd, tokens in rows
        ]

    def ended(self) -> list[str]:
        sql = "SELECT toString(session_id) FROM sessions FINAL WHERE org_id = {org:String} AND completed_at IS NOT NULL"
        return [session_id for (session_id,) in self.admin.rows(f"{sql} ORDER BY 1", {"org": ORG})]

    def count(self, where: str) -> int:
        ((count,),) = self.admin.rows(f"SELECT count() FROM events WHERE {where}")
        return int(count)

    def of_organisation(self) -> int:
        return self.count(f"org_id = '{ORG}'")


@pytest.fixture(scope="module")
def retention(ledger: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retention]:
    admin = ledger.clickhouse()
    purger = ClickHouse(ledger.stack.clickhouse_url, "purger", ledger.stack.password("purger"), "procurator")
    yield Retention(ledger, ledger.verify, tmp_path_factory.mktemp("exports"), admin, purger)
    admin.close()
    purger.close()


def whats(report: Report) -> set[str]:
    return {finding.what for finding in report.findings}


def test_a_run_removes_what_is_due_and_leaves_what_is_held(retention: Retention) -> None:
    retention.sessions(6)
    others = retention.count(f"org_id != '{ORG}'")
    erasures = Erasures(retention.admin, retention.ledger.desk(retention.admin))
    hold_id = erasures.hold(ORG, [], "counsel", "case 1", HoldFilter((("org", ORG), ("label", "case=3"))))
    (held,) = erasures.holds()[hold_id].session_ids
    plan = Due(retention.purger, POLICY, now_us()).plan(erasures.holds().values())
    assert (plan.sessions, plan.held) == (5, {hold_id: 1})
    assert list(plan.going) == [(ORG, "desk")]
    spent = retention.admin.rows(
        f"SELECT toString(sum(cost_usd)), sum(input_tokens), countIf(kind = 'ModelCallCompleted') FROM events"
        f" WHERE org_id = '{ORG}' AND session_id != '{held}' AND empty(flags)"
    )[0]
    counters = retention.counters()
    assert reconcile_budgets(retention.admin.rows, BUDGETS, counters, []).differences == []
    kept = retention.count(f"session_id = '{held}'")
    gone = retention.of_organisation() - kept

    done = retention.run()

    assert (done.sessions, done.purges) == (5, 1)
    assert retention.of_organisation() == kept
    assert retention.count(f"org_id != '{ORG}'") == others
    assert retention.ended() == [held]
    report = retention.verified(retention.admin)
    assert report.verdict is Verdict.SOUND, report.to_json()
    assert report.counts["entries_purged"] == gone
    (shown,) = retention.admin.rows(
        "SELECT toString(sum(cost_usd)), sum(input_tokens), sum(model_calls) FROM finops.purged_spend_by_day_v1"
        f" WHERE org_id = '{ORG}'"
    )
    assert (Decimal(shown[0]), shown[1:]) == (Decimal(spent[0]), spent[1:])
    assert retention.run() == Done(0, 0, 0, 0)
    added_up = reconcile_purges(retention.admin.rows)
    assert (added_up.purges, added_up.sessions, added_up.entries) == (1, 5, gone)
    assert (added_up.cost_usd, added_up.differences) == (Decimal(spent[0]), [])
    recounted = reconcile_budgets(retention.admin.rows, BUDGETS, counters, [])
    assert (recounted.pending, recounted.differences) == (0, [])

    erasures.release(hold_id, "counsel", "settled")
    assert retention.run().sessions == 1
    with pytest.raises(UserError, match="was purged already"):
        erasures.hold(ORG, [held], "counsel", "too late")


def test_the_export_is_what_was_signed(retention: Retention) -> None:
    purge = json.loads(
        retention.admin.rows("SELECT body FROM ledger_control WHERE kind = 'Purge' ORDER BY offset LIMIT 1")[0][0]
    )
    digest = bytes.fromhex(purge["export_sha256"])
    folder = retention.exports / purge["purge_id"]
    report = verify_archive(folder, [retention.ledger.key], digest)
    assert report.verdict is Verdict.SOUND, report.to_json()
    assert report.counts["sessions"] == len(purge["session_ids"]) == 5
    assert report.counts["entries"] == sum(each["leaf_count"] for each in purge["ranges"])
    assert verify_archive(folder, [retention.ledger.key], bytes(32)).verdict is Verdict.TAMPERED
    bundle = folder / f"{purge['session_ids'][0]}.json"
    whole = bundle.read_bytes()
    bundle.write_bytes(whole.replace(b"A", b"B", 1))
    assert whats(verify_archive(folder, [retention.ledger.key], digest)) == {"file_differs"}
    bundle.unlink()
    assert whats(verify_archive(folder, [retention.ledger.key], digest)) == {"missing"}
    bundle.write_bytes(whole)


def test_what_is_left_of_a_purged_log_proves_itself(retention: Retention) -> None:
    ledger = retention.ledger
    sealer = Sealer(LedgerSource(retention.admin))
    rows = retention.admin.rows(
        "SELECT log_id, leaf_index, hex(leaf_hash), toString(session_id) FROM events WHERE empty(flags)"
        " AND value IS NOT NULL AND kind = 'SessionEnded' ORDER BY cityHash64(leaf_hash) LIMIT 20"
    )
    for log_id, index, leaf, session_id in rows:
        _, _, head, proof = sealer.inclusion("events", log_id, index, ledger.notes)
        verify_inclusion(bytes.fromhex(leaf), index, head.size, proof, head.root)
        report = verify_bundle(render(sealer.seal(UUID(session_id), ledger.notes)), [ledger.key])
        assert report.verdict is Verdict.SOUND, report.to_json()
    assert len(rows) == 20


def test_a_run_finishes_or_undoes_what_an_earlier_one_left(
    retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    retention.sessions(3)
    entries, exports = retention.of_organisation(), len(list(retention.exports.iterdir()))

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("procurator.retention.purge.spend_totals", die)
        with pytest.raises(KeyboardInterrupt):
            retention.sign_only()  # an export without a purge
    assert retention.sign_only() == 3  # and a purge without a removal
    report = retention.verified(retention.admin)
    assert report.verdict is Verdict.SOUND, report.to_json()
    assert report.counts["purge_not_carried_out"] == retention.of_organisation() == entries

    assert retention.run() == Done(0, 0, resumed=1, undone=1)

    assert len(list(retention.exports.iterdir())) == exports + 1
    assert retention.of_organisation() == 0
    assert retention.verified(retention.admin).verdict is Verdict.SOUND


def test_the_commands(retention: Retention, tmp_path: Path) -> None:
    (tmp_path / "retention.toml").write_text(f'days = 36500\n[organisation."{ORG}"]\ndays = 0\n')
    own = {"PROCURATOR_RETENTION_FILE": str(tmp_path / "retention.toml")}
    env = {**os.environ, **retention.ledger.stack.env("retention"), **own}

    def procurator(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "procurator", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)

    planned = procurator("retention", "plan", "--json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["sessions"] == 0
    assert "warning: 0 days for organisation short-lived" in planned.stderr
    reconciled = procurator("reconcile", "--json")
    assert reconciled.returncode == 0, reconciled.stdout
    assert json.loads(reconciled.stdout)["purged_sessions"] == 9
    state = tmp_path / "verified.json"
    for leaves in (retention.count("1"), 0):
        verified = procurator("verify", "ledger", "--state", str(state), "--json")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert json.loads(verified.stdout)["counts"]["leaves"] == leaves
    session_id = json.loads(
        retention.admin.rows("SELECT body FROM ledger_control WHERE kind = 'Purge' ORDER BY offset LIMIT 1")[0][0]
    )["session_ids"][0]
    purged = procurator("verify", "session", session_id, "--json")
    assert purged.returncode == 2
    assert [finding["what"] for finding in json.loads(purged.stdout)["findings"]] == ["purged"]


def test_nothing_goes_from_a_ledger_that_is_not_sound(retention: Retention) -> None:
    retention.sessions(1)
    entries = retention.of_organisation()
    parts = retention.parts
    unsound = Report()
    unsound.tampered("leaf_differs", "somewhere", "for this test")
    with pytest.raises(Fatal, match="the ledger is not sound"):
        run(Parts(**{**vars(parts), "verify": lambda: unsound}), POLICY, retention.purge(), now_us())
    assert retention.of_organisation() == entries


def test_purged_rows_that_come_back_are_found(retention: Retention) -> None:
    ledger = retention.ledger
    with ledger.copy() as before:
        assert retention.run(exports=False).sessions == 1
        with ledger.copy() as attacked:
            assert retention.verified(attacked).verdict is Verdict.SOUND
            attacked.execute(f"{REAL_ROWS} {before.database}.events WHERE org_id = '{ORG}'")
            report = retention.verified(attacked)
    assert whats(report) == {"resurrected"}, report.to_json()


PURGE_ATTACKS = {
    "alter a retained hash": "value = concat(substring(value, 1, length(value) - 200), 'x', substring(value, -199))",
    "forge the export's digest": "value = replaceAll(value, unhex({digest}), unhex(repeat('ab', 32)))",
    "reword why": "value = replaceAll(value, 'retention period', 'court order 4711')",
}


@pytest.mark.parametrize("name", PURGE_ATTACKS)
def test_a_purges_record_cannot_be_changed(name: str, retention: Retention) -> None:
    body = retention.admin.rows(
        "SELECT JSONExtractString(body, 'export_sha256') FROM ledger_control WHERE kind = 'Purge'"
        " AND body NOT LIKE '%\"export_sha256\":null%' ORDER BY offset LIMIT 1"
    )
    what = PURGE_ATTACKS[name].format(digest=f"'{body[0][0]}'")
    with retention.ledger.copy() as attacked:
        attacked.execute(f"ALTER TABLE ledger_control UPDATE {what} WHERE kind = 'Purge' SETTINGS mutations_sync = 2")
        report = retention.verified(attacked)
    assert {"leaf_differs", "checkpoint_differs"} <= whats(report), report.to_json()


def test_a_purge_whose_record_is_deleted_is_missing(retention: Retention) -> None:
    with retention.ledger.copy() as attacked:
        attacked.execute("ALTER TABLE ledger_control DELETE WHERE kind = 'Purge' SETTINGS mutations_sync = 2")
        assert "missing" in whats(retention.verified(attacked))


def test_deleting_more_than_was_recorded_is_found(retention: Retention) -> None:
    with retention.ledger.copy() as attacked:
        attacked.execute(f"CREATE VIEW {attacked.database}.purged_spend AS SELECT * FROM procurator.purged_spend")
        assert reconcile_purges(attacked.rows).differences == []
        attacked.execute(
            "ALTER TABLE events DELETE WHERE session_id = (SELECT min(session_id) FROM events WHERE org_id = 'acme')"
            " SETTINGS mutations_sync = 2"
        )
        assert whats(retention.verified(attacked)) & {"missing", "cut_off"}
        assert reconcile_purges(attacked.rows).differences
