"""The filter of a request: the query language in ``q``, and each field as a query parameter of its own."""

from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from procurator.query_api.search import SessionFilter, parse
from procurator.query_api.search.errors import SearchError
from procurator.query_api.search.fields import KEYED, MARKS, MEASURES, NAMES
from procurator.query_api.search.filter import Term
from procurator.query_api.search.language import QUERY_CHARS_MAX, compare_terms, keyed_term, names_term
from procurator.query_api.search.terms import Is

#: The last part of a measure's parameter, and what it compares by.
_BOUNDS = {"above": ">", "below": "<", "from": ">=", "to": "<"}


def _names(name: str) -> Any:
    return Field(default_factory=list, description=f"By {NAMES[name].about}. Repeat it for any of several values.")


def _bound(name: str, bound: str) -> Any:
    return Field(None, max_length=50, description=f"By {MEASURES[name].about}: {_BOUNDS[bound]} this value.")


def _mark(name: str) -> Any:
    return Field(None, description=f"True: {MARKS[name].about}; false: it is not so.")


class FilterParameters(BaseModel):
    """Which sessions; all that is given must hold. A route with more parameters inherits from it beside theirs."""

    model_config = ConfigDict(extra="forbid")

    q: str = Field(
        "",
        max_length=QUERY_CHARS_MAX,
        description="Search in the query language (docs/search.md).",
        examples=['agent:billing cost>0.5 "refund policy"'],
    )
    id: list[str] = _names("id")
    agent: list[str] = _names("agent")
    owner_team: list[str] = _names("owner_team")
    team: list[str] = _names("team")
    org: list[str] = _names("org")
    user: list[str] = _names("user")
    initiator: list[str] = _names("initiator")
    status: list[str] = _names("status")
    origin: list[str] = _names("origin")
    workflow: list[str] = _names("workflow")
    workflow_run: list[str] = _names("workflow_run")
    schedule: list[str] = _names("schedule")
    parent: list[str] = _names("parent")
    model: list[str] = _names("model")
    tool: list[str] = _names("tool")
    mcp_server: list[str] = _names("mcp_server")
    label: list[str] = _names("label")
    flag: list[str] = _names("flag")
    started_from: str | None = _bound("started", "from")
    started_to: str | None = _bound("started", "to")
    completed_from: str | None = _bound("completed", "from")
    completed_to: str | None = _bound("completed", "to")
    cost_above: str | None = _bound("cost", "above")
    cost_below: str | None = _bound("cost", "below")
    duration_above: str | None = _bound("duration", "above")
    duration_below: str | None = _bound("duration", "below")
    tokens_above: str | None = _bound("tokens", "above")
    tokens_below: str | None = _bound("tokens", "below")
    turns_above: str | None = _bound("turns", "above")
    turns_below: str | None = _bound("turns", "below")
    tool_calls_above: str | None = _bound("tool_calls", "above")
    tool_calls_below: str | None = _bound("tool_calls", "below")
    tool_errors_above: str | None = _bound("tool_errors", "above")
    tool_errors_below: str | None = _bound("tool_errors", "below")
    model_calls_above: str | None = _bound("model_calls", "above")
    model_calls_below: str | None = _bound("model_calls", "below")
    open: bool | None = _mark("open")
    unpriced: bool | None = _mark("unpriced")
    stalled: bool | None = _mark("stalled")
    incomplete: bool | None = _mark("incomplete")
    flagged: bool | None = _mark("flagged")
    estimated: bool | None = _mark("estimated")
    imported: bool | None = _mark("imported")

    def search(self) -> SessionFilter:
        """Return the sessions that meet ``q`` and every other parameter. Raises SearchError naming the parameter."""
        others = [name for name in FilterParameters.model_fields if name != "q"]
        return parse(self.q) & SessionFilter(tuple(term for name in others for term in self._terms(name)))

    def _terms(self, parameter: str) -> list[Term]:
        given = getattr(self, parameter)
        if given is None or given == []:
            return []
        if parameter in MARKS:
            return [Is(parameter, negated=not given)]
        field, _, bound = parameter.rpartition("_")
        try:
            if field in MEASURES:
                return compare_terms(field, _BOUNDS[bound], given)
            return _named(parameter, given)
        except ValueError as error:
            raise SearchError(parameter, str(error), f"{parameter}={_example(parameter)}") from None


def _named(field: str, given: list[str]) -> list[Term]:
    """Return the terms of a field's values; ``label=env=prod`` names key and value."""
    if not all(given):
        raise ValueError("an empty value finds nothing")
    keyed = [text for text in given if field in KEYED and "=" in text]
    plain = [text for text in given if text not in keyed]
    terms = [keyed_term(field, key, value.split(",")) for key, _, value in (text.partition("=") for text in keyed)]
    return [*terms, names_term(field, plain)] if plain else terms


def _example(parameter: str) -> str:
    measure = MEASURES.get(parameter.rpartition("_")[0])
    if measure is None:
        return NAMES[parameter].example.partition(":")[2].partition(",")[0]
    return measure.example.lstrip("abcdefghijklmnopqrstuvwxyz_<>=")


def _search(parameters: Annotated[FilterParameters, Query()]) -> SessionFilter:
    return parameters.search()


#: For a route that takes a filter and nothing else.
InFilter = Annotated[SessionFilter, Depends(_search)]
