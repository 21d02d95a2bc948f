"""IO: which ended sessions are past their retention period, and which of those a legal hold keeps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from procurator.clickhouse import ClickHouse
from procurator.retention.holds import Hold, SessionFacts, held_by
from procurator.retention.policy import DAY_US, RetentionPolicy
from procurator.retention.sessions import ended_before, entry_counts

#: One purge, hence one entry of the control log, takes so many sessions, and entries unless one session has more.
BATCH_SESSIONS = 1_000
BATCH_ENTRIES = 50_000


@dataclass
class Plan:
    """What would go now, by (organisation, owner team): sessions, entries; and how many are held."""

    going: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)

    @property
    def sessions(self) -> int:
        return sum(sessions for sessions, _ in self.going.values())

    @property
    def entries(self) -> int:
        return sum(entries for _, entries in self.going.values())


class Due:
    """Sessions past their period at ``now_us``. An open session never is, nor one with a later record."""

    def __init__(self, clickhouse: ClickHouse, policy: RetentionPolicy, now_us: int) -> None:
        self._clickhouse = clickhouse
        self._policy = policy
        self._now_us = now_us

    def plan(self, holds: Iterable[Hold]) -> Plan:
        """Return what would go."""
        holds, plan = list(holds), Plan()
        for session, entries in self._due():
            if hold := held_by(holds, session):
                plan.held[hold.hold_id] = plan.held.get(hold.hold_id, 0) + 1
                continue
            going = plan.going.setdefault((session.org_id, session.owner_team_id), [0, 0])
            going[0] += 1
            going[1] += entries
        return plan

    def batches(self, holds: Iterable[Hold]) -> Iterator[list[SessionFacts]]:
        """Yield what goes in one purge each, held sessions left out."""
        holds = list(holds)
        batch: list[SessionFacts] = []
        size = 0
        for session, entries in self._due():
            if held_by(holds, session):
                continue
            if batch and (len(batch) == BATCH_SESSIONS or size + entries > BATCH_ENTRIES):
                yield batch
                batch, size = [], 0
            batch.append(session)
            size += entries
        if batch:
            yield batch

    def _due(self) -> Iterator[tuple[SessionFacts, int]]:
        earliest_us = self._now_us - self._policy.shortest_days * DAY_US
        return chain.from_iterable(map(self._of_page, ended_before(self._clickhouse, earliest_us)))

    def _of_page(self, page: list[SessionFacts]) -> list[tuple[SessionFacts, int]]:
        due = [session for session in page if session.last_record_us < self._until_us(session)]
        counts = entry_counts(self._clickhouse, [session.session_id for session in due])
        found = []
        for session in due:
            entries, last_us = counts.get(session.session_id, (0, 0))
            if entries and last_us < self._until_us(session):
                found.append((session, entries))
        return found

    def _until_us(self, session: SessionFacts) -> int:
        return self._now_us - self._policy.days(session.org_id, session.owner_team_id) * DAY_US
