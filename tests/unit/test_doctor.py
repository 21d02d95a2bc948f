"""What `procurator doctor` makes of a ClickHouse server's access control, which the embedded engine does not have."""

import re
import time
from typing import Any

import pytest

from procurator import doctor
from procurator.clickhouse import ClickHouse
from procurator.config import Settings
from procurator.doctor import Finding, Verdict
from procurator.errors import Fatal, UserError
from procurator.sink.migrate import shipped


class Server:
    """A server as a user with some rights on the ledger's tables sees it."""

    database = "procurator"

    def __init__(self, rights: set[str], roles: tuple[str, ...] = (), disks: bool = False) -> None:
        self.rights, self.roles, self.disks = rights, roles, disks

    def rows(self, sql: str, *_: Any, **__: Any) -> list[list[Any]]:
        if asked := re.fullmatch(r"CHECK GRANT ([A-Z ]+) ON ([\w.]+)", sql):
            granted = self.disks if asked[2] == "system.disks" else asked[1] in self.rights
            return [[int(granted)]]
        if "enabledRoles()" in sql:
            return [[role] for role in self.roles]
        if "system.disks" in sql:
            if not self.disks:
                raise UserError("Not enough privileges (this user needs another role)")
            return [["default", 1 << 40, 1 << 40]]
        if "FROM migrations" in sql:
            return [[each.number, each.sha256] for each in shipped()]
        return [[int(time.time() * 1e6)]]

    def version(self) -> str:
        return "26.9.1"

    def close(self) -> None:
        """Nothing is open."""


def _examined(monkeypatch: pytest.MonkeyPatch, user: str, server: Server) -> list[Finding]:
    monkeypatch.setattr(ClickHouse, "of", lambda _settings: server)
    return list(doctor.CHECKS["clickhouse"](Settings(clickhouse_user=user)))


def _grants(found: list[Finding]) -> Finding:
    (finding,) = [finding for finding in found if finding.check == "grants"]
    return finding


@pytest.mark.parametrize("user", ["reader", "writer", "purger"])
def test_a_user_with_its_role_is_well_although_it_may_not_see_the_disks(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _examined(monkeypatch, user, Server(set(doctor.RIGHTS[user])))
    assert doctor.worst(found) is Verdict.OK
    assert any("disks were not looked at" in finding.what for finding in found)


def test_a_writer_that_may_not_insert_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = _grants(_examined(monkeypatch, "writer", Server({"SELECT"})))
    assert finding.verdict is Verdict.FAILED
    assert finding.what.startswith("writer may not INSERT on events, audit,")
    assert "as admin" in finding.remedy


def test_a_role_counts_under_any_user_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = _grants(_examined(monkeypatch, "janitor", Server({"SELECT", "ALTER UPDATE"}, ("procurator_purger",))))
    assert (finding.verdict, "ALTER DELETE on events" in finding.what) == (Verdict.FAILED, True)
    assert "ALTER UPDATE" not in finding.what


def test_an_old_server_is_told_so_before_it_is_asked_what_it_has_never_heard_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Old(Server):
        def rows(self, sql: str, *_: Any, **__: Any) -> list[list[Any]]:
            raise Fatal(f"Code: 73, Unknown format: {sql}")

        def version(self) -> str:
            return "18.16.1"

    monkeypatch.setattr(ClickHouse, "of", lambda _settings: Old(set()))
    monkeypatch.setattr(doctor, "CHECKS", {"clickhouse": doctor.CHECKS["clickhouse"]})
    (finding,) = doctor.examine(Settings())
    assert (finding.verdict, finding.remedy) == (Verdict.FAILED, "")
    assert finding.what == "ClickHouse 18.16.1 has no text index fit for use: 26.2 or newer is needed, upgrade it"


def test_who_may_see_the_disks_is_told_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _examined(monkeypatch, "admin", Server(set(doctor.RIGHTS["admin"]), disks=True))
    assert [finding.what for finding in found if finding.check == "disk"] == [
        "ClickHouse's disk default: 1024.0 GiB of 1024.0 GiB free"
    ]
