"""Which budgets a session's spend counts against. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from procurator.budgets.definition import AGENT, ORGANISATION, SESSION, TEAM, Budget

_OWNERS_MAX = 100_000


class Owner(NamedTuple):
    """Whose a session is."""

    org_id: str
    agent_id: str
    owner_team_id: str


class Matching(NamedTuple):
    """Budgets that share their limit over sessions, and those that limit each session by itself."""

    shared: tuple[Budget, ...]
    each: tuple[Budget, ...]


@dataclass(frozen=True)
class BudgetIndex:
    """All definitions, by id. Immutable; whom each concerns is remembered, in bounded memory."""

    budgets: Mapping[str, Budget] = field(default_factory=lambda: MappingProxyType({}))
    _by_scope: dict[tuple[str, str, str], list[Budget]] = field(default_factory=dict, init=False, repr=False)
    _matching: dict[Owner, Matching] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for budget in self.budgets.values():
            self._by_scope.setdefault((budget.org_id, budget.scope, budget.scope_id), []).append(budget)

    @classmethod
    def of(cls, budgets: Iterable[Budget]) -> "BudgetIndex":
        return cls(MappingProxyType({budget.budget_id: budget for budget in budgets}))

    def matching(self, owner: Owner) -> Matching:
        """Return the budgets that a session of ``owner`` counts against: agent's, owner team's, organisation's."""
        found = self._matching.get(owner)
        if found is None:
            if len(self._matching) >= _OWNERS_MAX:
                self._matching.clear()
            org_id, agent_id, team_id = owner
            scopes = ((AGENT, agent_id), (TEAM, team_id), (ORGANISATION, org_id))
            shared = (b for scope, name in scopes for b in self._by_scope.get((org_id, scope, name), ()))
            each = self._by_scope.get((org_id, SESSION, agent_id), ())
            found = self._matching[owner] = Matching(tuple(shared), tuple(each))
        return found


def concerns(budget: Budget, owner: Owner) -> bool:
    """Tell whether a session of ``owner`` counts against the budget."""
    whose = {AGENT: owner.agent_id, SESSION: owner.agent_id, TEAM: owner.owner_team_id, ORGANISATION: owner.org_id}
    return budget.org_id == owner.org_id and budget.scope_id == whose[budget.scope]
