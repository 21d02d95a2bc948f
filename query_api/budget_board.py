"""IO: budgets as the API shows and changes them: definitions and latest statuses, followed in Kafka, kept in memory.

A change is answered once it holds (Kafka has it, and the stream processors know it) and this process has read it back:
whoever changed a budget reads the change, and whatever is published afterwards is judged by it.
"""

import asyncio
from typing import Any

from procurator.budgets import NOTICE_S, Budget
from procurator.budgets.records import budget_from_record, budget_to_record
from procurator.config import Settings
from procurator.query_api.commands import Commands
from procurator.query_api.following import Following
from procurator.registry import Registry
from procurator.topic_feed import Heard
from procurator.topics import BUDGET_DEFINITIONS, BUDGET_STATUS


class BudgetBoard:
    """All budgets. It reads in the background from `start` on; until it has read all, `budgets` raises Unavailable."""

    def __init__(self, settings: Settings, registry: Registry, commands: Commands) -> None:
        self._budgets: dict[str, Budget] = {}
        #: The latest period's status of each budget, raw.
        self._statuses: dict[str, dict[str, Any]] = {}
        #: Held from reading a definition until its change is published: of two at once, none is lost, and a deleted
        #: budget does not come back.
        self.changing = asyncio.Lock()
        self._commands = commands
        topics = (BUDGET_DEFINITIONS, BUDGET_STATUS)
        self.following = Following(settings, registry, topics, self._take, "budgets")

    def start(self) -> None:
        """Begin to read, whether Kafka is there already or comes later."""
        self.following.start()

    @property
    def budgets(self) -> dict[str, Budget]:
        """The definitions by id. Raises Unavailable until all have been read."""
        self.following.require()
        return self._budgets

    def status(self, budget_id: str) -> dict[str, Any] | None:
        """Return the status of the latest period that has one, as a raw record."""
        return self._statuses.get(budget_id)

    async def put(self, budget: Budget) -> None:
        """Publish a definition; afterwards `budgets` has it."""
        await self._write(budget.budget_id, budget_to_record(budget))

    async def delete(self, budget_id: str) -> None:
        """Publish that a budget is no more; afterwards `budgets` lacks it."""
        await self._write(budget_id, None)

    def close(self) -> None:
        """Stop reading."""
        self.following.close()

    async def _write(self, budget_id: str, record: dict[str, Any] | None) -> None:
        self.following.require()
        await self._commands.send(BUDGET_DEFINITIONS, budget_id, record)
        await asyncio.gather(self.following.catch_up(BUDGET_DEFINITIONS), asyncio.sleep(NOTICE_S))

    def _take(self, heard: list[Heard]) -> None:
        for topic, _, key, record in heard:
            if topic is BUDGET_STATUS:
                self._take_status(record)
            elif record is None:
                self._budgets.pop(key.decode("utf-8", "replace"), None)
            else:
                self._budgets[record["budget_id"]] = budget_from_record(record)

    def _take_status(self, record: dict[str, Any] | None) -> None:
        if record is None or record["session_id"] is not None:
            return
        known = self._statuses.get(record["budget_id"])
        if known is None or known["period_start"] <= record["period_start"]:
            self._statuses[record["budget_id"]] = record
