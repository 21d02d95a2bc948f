"""Who may do what, and to which rows. Pure.

A *principal* is who calls; its *permissions* say which actions are open to it; a *scope* says whose rows an action
may touch. A scope is rendered to SQL in one place, `Scope.predicate`, and every query of the ledger contains it
(`procurator.query_api.queries.base` leaves no other way to name a table).

The organisation is a hard boundary: ``sessions:read:all`` ends at it as well. The one principal without an
organisation is the operator of the installation, who holds the admin key (docs/decisions, "admin key").
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

#: Binds a value as a statement's parameter: (name, ClickHouse type, value) → the placeholder to write.
Bind = Callable[[str, str, object], str]


#: Stands in the audit for the organisation of whoever has none: the operator, and whoever is not known at all.
NO_ORGANISATION = "*"


class Permission(StrEnum):
    """What a principal may be allowed to do."""

    SESSIONS_READ = "sessions:read"
    SESSIONS_READ_ALL = "sessions:read:all"
    SESSIONS_TERMINATE = "sessions:terminate"
    SESSIONS_EXPORT = "sessions:export"
    BUDGETS_WRITE = "budgets:write"
    LEDGER_VERIFY = "ledger:verify"
    ADMIN = "admin"


#: What a permission includes beside itself.
_INCLUDES = {
    Permission.SESSIONS_READ_ALL: frozenset({Permission.SESSIONS_READ}),
    Permission.ADMIN: frozenset(Permission),
}


@dataclass(frozen=True)
class Scope:
    """Whose rows may be touched: one organisation's or all, and in it some owner teams' or all.

    Made by `everywhere`, `of_organisation` and `of_teams`, so that the widest one is never made by leaving
    something out. Rejected records name no organisation: only `everywhere` reaches them.
    """

    org_id: str | None
    owner_team_ids: tuple[str, ...] | None

    @classmethod
    def everywhere(cls) -> Self:
        """Every organisation: for the operator of the installation alone."""
        return cls(None, None)

    @classmethod
    def of_organisation(cls, org_id: str) -> Self:
        """Every owner team of one organisation."""
        return cls(_named(org_id), None)

    @classmethod
    def of_teams(cls, org_id: str, owner_team_ids: Iterable[str]) -> Self:
        """Some owner teams of one organisation; without any, nothing at all."""
        return cls(_named(org_id), tuple(sorted(set(owner_team_ids))))

    @property
    def reaches_something(self) -> bool:
        """Whether any row can be in it."""
        return self.owner_team_ids != ()

    def predicate(self, bind: Bind) -> str:
        """Return the SQL condition on the columns ``org_id`` and ``owner_team_id``; every value is bound."""
        conditions = []
        if self.org_id is not None:
            conditions.append(f"org_id = {bind('scope_org_id', 'String', self.org_id)}")
        if self.owner_team_ids is not None:
            conditions.append(f"owner_team_id IN {bind('scope_team_ids', 'Array(String)', self.owner_team_ids)}")
        return " AND ".join(conditions) or "true"

    def contains(self, org_id: str, owner_team_id: str) -> bool:
        """Tell whether a row may be touched: what `predicate` says, of a record that is not in a table."""
        in_organisation = self.org_id is None or self.org_id == org_id
        return in_organisation and (self.owner_team_ids is None or owner_team_id in self.owner_team_ids)


@dataclass(frozen=True)
class Principal:
    """Who calls. ``org_id`` None is the operator of the installation, otherwise the organisation it belongs to."""

    principal_id: str
    org_id: str | None
    permissions: frozenset[Permission]
    owner_team_ids: frozenset[str] = field(default_factory=frozenset)

    def may(self, permission: Permission) -> bool:
        """Tell whether ``permission`` was granted, by itself or by one that includes it."""
        return any(permission == held or permission in _INCLUDES.get(held, ()) for held in self.permissions)

    def __post_init__(self) -> None:
        if self.org_id is not None:
            _named(self.org_id)

    @property
    def scope(self) -> Scope:
        """Whose sessions this principal may reach, whatever it may do with them."""
        if self.org_id is None:
            return Scope.everywhere()
        if self.may(Permission.SESSIONS_READ_ALL):
            return Scope.of_organisation(self.org_id)
        return Scope.of_teams(self.org_id, self.owner_team_ids)


def _named(org_id: str) -> str:
    if not org_id:
        raise ValueError("a scope names its organisation: only rejected records have an empty one")
    if org_id == NO_ORGANISATION:
        raise ValueError(f"no organisation is called {NO_ORGANISATION}: it stands for whoever has none")
    return org_id
