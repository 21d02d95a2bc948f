"""What a search answers beside the sessions: hits, facets, totals."""

from enum import StrEnum

from pydantic import Field

from procurator.query_api.models.common import LogId, Model, Offset, Tokens, Usd
from procurator.query_api.models.sessions import Session


class Part(StrEnum):
    """Which text of a session."""

    TURN = "TURN"
    THINKING = "THINKING"
    TOOL_INPUT = "TOOL_INPUT"
    TOOL_OUTPUT = "TOOL_OUTPUT"


class Piece(Model):
    """A part of a snippet."""

    text: str = Field(examples=["refund policy"])
    hit: bool
    """Whether this is what was searched."""


class Hit(Model):
    """Where a session has what was searched."""

    part: Part
    turn_index: int | None = Field(examples=[4])
    """Turn it is in, or that triggered the tool call."""
    tool_name: str | None
    tool_call_id: str | None
    log_id: LogId
    offset: Offset
    snippet: list[Piece]
    """The text around it, in order."""


class FoundSession(Session):
    """A session in a list, with its first hits when words were searched."""

    hits: list[Hit] = Field(default_factory=list)
    """At most three; empty without a text in the search."""


class Count(Model):
    """How many sessions have a value."""

    value: str = Field(examples=["billing"])
    sessions: int = Field(examples=[12])


class Totals(Tokens):
    """Sums over the sessions found."""

    sessions: int
    cost_usd: Usd | None
    """Null when there are model calls and none has a price."""
    unpriced_calls: int
    unpriced_tokens: int
    turns: int
    tool_calls: int
    tool_errors: int
    model_calls: int


class Facets(Model):
    """What the sessions found are, counted by value, most frequent first; at most 50 values each."""

    totals: Totals
    status: list[Count]
    agent: list[Count]
    owner_team: list[Count]
    model: list[Count]
    """A session counts once for each model that answered in it."""
    tool: list[Count]
    """A session counts once for each tool called in it."""
