"""The open sessions of a worker's partitions, as far as budgets and endings need them. Pure, in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from sys import intern
from typing import TypeVar

from procurator.budgets import Spend
from procurator.session_state import SessionState
from procurator.stream_processors.budgets.index import Owner

K = TypeVar("K")


@dataclass(slots=True)
class OpenSession:
    """One session that has not ended. ``deadline_us``: broker time at which it exceeds its timeout.

    ``waits`` has the approvals that it waits for, each with the time at which the request lapses, if it does.
    """

    session_id: str
    owner: Owner
    partition: int
    parent_session_id: str | None
    timeout_s: int | None
    deadline_us: int | None
    spend: Spend
    waits: dict[str, int | None] = field(default_factory=dict)

    @classmethod
    def of(cls, state: SessionState, partition: int) -> "OpenSession":
        return cls(
            state.session_id,
            # Of a hundred thousand sessions few owners differ: their names are kept once.
            Owner(intern(state.org_id), intern(state.agent_id), intern(state.owner_team_id)),
            partition,
            state.parent_session_id,
            state.timeout_s,
            state.deadline_at,
            spend_of_session(state),
            dict(state.pending_approvals),
        )


def spend_of_session(state: SessionState) -> Spend:
    """Return what a session has spent and reserved."""
    tokens = (
        state.input_tokens
        + state.cached_input_tokens
        + state.cache_write_tokens
        + state.output_tokens
        + state.reasoning_tokens
    )
    return Spend(
        state.cost_attousd,
        tokens,
        state.unpriced_tokens,
        sum(held.attousd for held in state.reservations.values()),
        sum(held.tokens for held in state.reservations.values()),
    )


class OpenSessions:
    """Open sessions by id, by owner and by parent."""

    def __init__(self) -> None:
        self._by_id: dict[str, OpenSession] = {}
        self._by_owner: dict[Owner, dict[str, OpenSession]] = {}
        self._by_parent: dict[str, dict[str, OpenSession]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, session_id: str) -> OpenSession | None:
        return self._by_id.get(session_id)

    def put(self, session: OpenSession) -> None:
        """Add a session, or what is known of it now."""
        self.remove(session.session_id)
        self._by_id[session.session_id] = session
        self._by_owner.setdefault(session.owner, {})[session.session_id] = session
        if session.parent_session_id is not None:
            self._by_parent.setdefault(session.parent_session_id, {})[session.session_id] = session

    def remove(self, session_id: str) -> None:
        session = self._by_id.pop(session_id, None)
        if session is None:
            return
        _take_out(self._by_owner, session.owner, session_id)
        if session.parent_session_id is not None:
            _take_out(self._by_parent, session.parent_session_id, session_id)

    def remove_partition(self, partition: int) -> None:
        for session_id in [s.session_id for s in self._by_id.values() if s.partition == partition]:
            self.remove(session_id)

    def owners(self) -> list[Owner]:
        return list(self._by_owner)

    def of_owner(self, owner: Owner) -> Iterator[OpenSession]:
        yield from list(self._by_owner.get(owner, {}).values())

    def children_of(self, session_id: str) -> Iterator[OpenSession]:
        yield from list(self._by_parent.get(session_id, {}).values())


def _take_out(groups: dict[K, dict[str, OpenSession]], key: K, session_id: str) -> None:
    del groups[key][session_id]
    if not groups[key]:
        del groups[key]
