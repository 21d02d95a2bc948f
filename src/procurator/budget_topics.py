"""IO: all that the topics say of budgets at one time: definitions, counters, statuses."""

from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from procurator.budgets import Budget, Counter
from procurator.budgets.records import budget_from_record, counter_from_record
from procurator.registry import Registry
from procurator.topic_feed import Heard, TopicFeed
from procurator.topics import BUDGET_DEFINITIONS, BUDGET_SPEND, BUDGET_STATUS


@dataclass
class BudgetTopics:
    """Definitions by id, the latest counter and the latest status (raw) of each key."""

    budgets: dict[str, Budget] = field(default_factory=dict)
    _counters: dict[bytes, Counter] = field(default_factory=dict)
    _statuses: dict[bytes, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, bootstrap_servers: str, registry: Registry) -> "BudgetTopics":
        """Return what they hold now. Raises Unavailable while Kafka is away, UserError when a topic is missing."""
        found = cls()
        topics = (BUDGET_DEFINITIONS, BUDGET_SPEND, BUDGET_STATUS)
        with closing(TopicFeed(bootstrap_servers, registry, topics, found._take)) as feed:
            feed.start()
            feed.catch_up()
        return found

    @property
    def counters(self) -> list[Counter]:
        return list(self._counters.values())

    @property
    def statuses(self) -> list[dict[str, Any]]:
        return list(self._statuses.values())

    def _take(self, heard: list[Heard]) -> None:
        for topic, _, key, record in heard:
            if topic is BUDGET_DEFINITIONS:
                if record is None:
                    self.budgets.pop(key.decode("utf-8", "replace"), None)
                else:
                    self.budgets[record["budget_id"]] = budget_from_record(record)
            elif record is None:
                (self._counters if topic is BUDGET_SPEND else self._statuses).pop(key, None)
            elif topic is BUDGET_SPEND:
                self._counters[key] = counter_from_record(record)
            else:
                self._statuses[key] = record
