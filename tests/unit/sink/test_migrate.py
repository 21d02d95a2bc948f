"""Which migrations there are and which are still to run."""

import pytest

from procurator.errors import Fatal, UserError
from procurator.sink.migrate import Migration, check_version, pending, shipped

ONE = Migration(1, "one", "-- a comment; of two\n-- lines\nCREATE TABLE a (b String)\nENGINE = Memory;\nSELECT ';';\n")
TWO = Migration(2, "two", "-- requires: access_control\nCREATE ROLE r;\n")


def test_statements_end_with_a_semicolon_at_the_end_of_a_line() -> None:
    assert ONE.statements == ["CREATE TABLE a (b String)\nENGINE = Memory", "SELECT ';'"]


def test_a_migration_about_roles_says_so() -> None:
    assert (ONE.needs_access_control, TWO.needs_access_control) == (False, True)


def test_a_migration_for_an_empty_ledger_says_so() -> None:
    three = Migration(3, "three", "-- requires: no_entries\nEXCHANGE TABLES a AND b;\n")
    assert (ONE.needs_no_entries, TWO.needs_no_entries, three.needs_no_entries) == (False, False, True)


def test_what_has_not_run_is_pending() -> None:
    assert pending([ONE, TWO], {}) == [ONE, TWO]
    assert pending([ONE, TWO], {1: ONE.sha256}) == [TWO]
    assert pending([ONE, TWO], {2: TWO.sha256}) == [ONE], "one that was passed over comes again"
    assert pending([ONE, TWO], {1: ONE.sha256, 2: TWO.sha256}) == []


def test_an_edited_migration_is_refused() -> None:
    with pytest.raises(Fatal, match="0001 one was edited after it ran: add another instead"):
        pending([ONE], {1: "0" * 64})


def test_a_database_of_a_newer_version_is_refused() -> None:
    with pytest.raises(Fatal, match="has migration 7, this version knows 2: upgrade first"):
        pending([ONE, TWO], {1: ONE.sha256, 7: "0" * 64})


def test_what_is_shipped_is_numbered_without_holes_and_never_expires() -> None:
    migrations = shipped()
    assert [migration.number for migration in migrations] == list(range(1, len(migrations) + 1))
    assert all(migration.statements for migration in migrations)
    assert not any(" TTL " in statement.upper() for migration in migrations for statement in migration.statements)


@pytest.mark.parametrize("version", ["26.2.1.1", "26.9.2.1", "27.1"])
def test_a_server_with_a_text_index_is_taken(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["26.1.3.4", "25.12", "24.8.1.1"])
def test_an_older_server_is_refused_in_one_line(version: str) -> None:
    with pytest.raises(
        UserError, match=rf"ClickHouse {version} has no text index fit for use: 26.2 or newer is needed, upgrade it"
    ):
        check_version(version)
