"""Scopes and permissions: who reaches which rows."""

import pytest

from procurator.access import Permission, Principal, Scope
from procurator.query_api.queries.base import Statement


def _predicate(scope: Scope) -> tuple[str, dict[str, object]]:
    statement = Statement(scope)
    return scope.predicate(statement.bind), statement.parameters


def test_an_organisation_is_bound_never_written() -> None:
    sql, parameters = _predicate(Scope.of_organisation("acme' OR 1=1 --"))
    assert sql == "org_id = {scope_org_id:String}"
    assert parameters == {"scope_org_id": "acme' OR 1=1 --"}


def test_teams_are_within_their_organisation() -> None:
    sql, parameters = _predicate(Scope.of_teams("acme", ["b", "a", "b"]))
    assert sql == "org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)}"
    assert parameters == {"scope_org_id": "acme", "scope_team_ids": ("a", "b")}


def test_no_teams_reach_nothing_rather_than_everything() -> None:
    sql, parameters = _predicate(Scope.of_teams("acme", []))
    assert "owner_team_id IN {scope_team_ids:Array(String)}" in sql
    assert parameters["scope_team_ids"] == ()


def test_everywhere_has_no_condition() -> None:
    assert _predicate(Scope.everywhere()) == ("true", {})


@pytest.mark.parametrize("make", [Scope.of_organisation, lambda org_id: Scope.of_teams(org_id, ["a"])])
def test_the_organisation_of_rejected_records_is_no_scope(make: type) -> None:
    with pytest.raises(ValueError, match="a scope names its organisation"):
        make("")


def _principal(*permissions: Permission, org_id: str | None = "acme") -> Principal:
    return Principal("somebody", org_id, frozenset(permissions), frozenset({"payments"}))


def test_reading_is_of_own_teams() -> None:
    assert _principal(Permission.SESSIONS_READ).scope == Scope.of_teams("acme", ["payments"])


@pytest.mark.parametrize("permission", [Permission.SESSIONS_READ_ALL, Permission.ADMIN])
def test_reading_all_ends_at_the_organisation(permission: Permission) -> None:
    assert _principal(permission).scope == Scope.of_organisation("acme")


def test_only_the_operator_reaches_every_organisation() -> None:
    assert _principal(Permission.ADMIN, org_id=None).scope == Scope.everywhere()


def test_permissions_include_what_they_imply_and_no_more() -> None:
    assert all(_principal(Permission.ADMIN).may(permission) for permission in Permission)
    reader = _principal(Permission.SESSIONS_READ_ALL)
    assert [permission for permission in Permission if reader.may(permission)] == [
        Permission.SESSIONS_READ,
        Permission.SESSIONS_READ_ALL,
    ]
    assert not any(_principal().may(permission) for permission in Permission)


def test_permissions_are_named_as_on_the_product_page() -> None:
    assert {permission.value for permission in Permission} == {
        "sessions:read",
        "sessions:read:all",
        "sessions:terminate",
        "sessions:export",
        "budgets:write",
        "ledger:verify",
        "admin",
    }
