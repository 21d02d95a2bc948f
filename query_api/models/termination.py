"""Commands to running sessions, as the API takes them, and what it answers."""

from pydantic import ConfigDict, Field

from procurator.query_api.models.common import Model, Time, UuidText
from procurator.query_api.search.language import QUERY_CHARS_MAX


class Reason(Model):
    """Why; people will read it."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    reason: str = Field("", max_length=1024, examples=["it deletes what it should not"])
    """Why, for people."""


class Decision(Reason):
    """A decision on an approval."""

    approval_id: str | None = Field(None, max_length=1024)
    """Which request; may be left out while a single one waits."""


class KillSwitch(Reason):
    """Which open sessions to terminate: those that meet every condition given, of which there must be one."""

    q: str = Field("", max_length=QUERY_CHARS_MAX, examples=['agent:billing cost>5 "wire transfer"'])
    """Conditions in the query language, as the list of sessions takes them."""
    org_id: str | None = Field(None, min_length=1, examples=["acme"])
    agent_id: str | None = Field(None, min_length=1, examples=["billing"])
    owner_team_id: str | None = Field(None, min_length=1)
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels that a session must have."""
    confirm: str | None = Field(None, examples=["b5bb9d8014a0f9b1"])
    """What the preview answered with the same conditions; without it nothing is done."""


class SignalModel(Model):
    """A signal to a session, as it stands on the control topic."""

    signal_id: UuidText
    session_id: UuidText
    org_id: str
    kind: str = Field(examples=["TERMINATE"])
    cause: str = Field(examples=["PRINCIPAL"])
    requested_by: str
    reason: str
    requested_at: Time
    grace_s: int
    """Seconds after which the session counts as ended without its runtime's word."""


class KillSwitchAnswer(Model):
    """What a kill switch hits."""

    matched: int
    """Open sessions that meet the conditions; at most 10,000 at once."""
    session_ids: list[UuidText]
    """The first hundred of them."""
    confirm: str | None
    """Send it with the same conditions to terminate; null once that is done."""
    terminated: bool
    """Whether the signals were given."""


class DecisionAnswer(Model):
    """A decision, as it stands in the session's log."""

    session_id: UuidText
    approval_id: str
    decision: str
    decided_by: str
