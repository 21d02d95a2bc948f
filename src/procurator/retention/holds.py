"""Legal holds: what must not go, named by session or by a filter. Pure.

A filter is a conjunction such as ``org:acme team:payments label:"case=4711"``, kept as text in the control log. It
also holds sessions that start later. Each field is an exact comparison.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from procurator.errors import UserError

FIELDS = ("org", "team", "agent", "user", "label")
_CONDITION = re.compile(r'([a-z]+):("(?:[^"\\]|\\.)*"|[^\s"]+)(?:\s+|\Z)')
_PLAIN = re.compile(r"[\w.@=/+-]+", re.ASCII)


@dataclass(frozen=True)
class SessionFacts:
    """What a filter sees of a session, and when its last record came (broker time)."""

    session_id: str
    org_id: str
    owner_team_id: str
    agent_id: str
    user_id: str | None
    labels: Mapping[str, str]
    last_record_us: int


@dataclass(frozen=True)
class HoldFilter:
    """(field, value) pairs, all of which must fit; a label's value is ``name=value``."""

    conditions: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the filter in a text. Raises UserError."""
        conditions, at = [], 0
        while at < len(text):
            found = _CONDITION.match(text, at)
            if found is None or found[1] not in FIELDS:
                raise UserError(f"filter {text!r}: expected one of {', '.join(FIELDS)}, a colon and a value at {at}")
            value = json.loads(found[2]) if found[2].startswith('"') else found[2]
            if found[1] == "label" and "=" not in value:
                raise UserError(f"filter {text!r}: a label is written name=value")
            conditions.append((found[1], value))
            at = found.end()
        if not conditions:
            raise UserError("a filter needs at least one condition")
        return cls(tuple(conditions))

    def __str__(self) -> str:
        return " ".join(
            f"{name}:{value if _PLAIN.fullmatch(value) else json.dumps(value)}" for name, value in self.conditions
        )

    def matches(self, session: SessionFacts) -> bool:
        """Whether a session fits every condition."""
        shown = {
            "org": session.org_id,
            "team": session.owner_team_id,
            "agent": session.agent_id,
            "user": session.user_id,
        }
        return all(
            session.labels.get(value.partition("=")[0]) == value.partition("=")[2]
            if name == "label"
            else shown[name] == value
            for name, value in self.conditions
        )


@dataclass(frozen=True)
class Hold:
    """A hold in force. A filter that this version cannot read holds the whole organisation: better too much."""

    hold_id: str
    org_id: str
    session_ids: frozenset[str]
    filter_text: str | None
    requested_by: str
    reason: str
    _filter: HoldFilter | None = field(default=None, compare=False)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Return the hold in a ``LegalHold`` payload."""
        text = body.get("filter")
        try:
            parsed = HoldFilter.parse(text) if text else None
        except UserError:
            parsed = HoldFilter((("org", body["org_id"]),))
        names = frozenset(body["session_ids"])
        return cls(body["hold_id"], body["org_id"], names, text, body["requested_by"], body["reason"], parsed)

    def holds(self, session: SessionFacts) -> bool:
        """Whether a session must stay."""
        return session.session_id in self.session_ids or (
            self._filter is not None and session.org_id == self.org_id and self._filter.matches(session)
        )


def in_force(bodies: Iterable[Mapping[str, Any]]) -> dict[str, Hold]:
    """Return the holds that ``LegalHold`` payloads, in the order of the log, leave in force, by id."""
    holds: dict[str, Hold] = {}
    for body in bodies:
        holds.pop(body["hold_id"], None)
        if not body["released"]:
            holds[body["hold_id"]] = Hold.of(body)
    return holds


def held_by(holds: Iterable[Hold], session: SessionFacts) -> Hold | None:
    """Return a hold that keeps a session, None if none does."""
    return next((hold for hold in holds if hold.holds(session)), None)
