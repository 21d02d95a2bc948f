"""What is masked before an event is written, by rules that its owner chose. Off unless rules are given. Pure.

A rule is the name of a built-in detector (`detectors`), a `Pattern`, or a function of one text. What it finds is
replaced by ``[redacted:NAME]``, and the event's ``redactions`` say in which field, by which rule, and how often. A rule
that fails masks the whole text: an exception must not let out what the rule was there to hide.

Bodies that are JSON are looked at value by value, so that an escape hides nothing and the masked text is JSON still.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from procurator.errors import UserError
from procurator.producers.detectors import BUILT_IN, Detector
from procurator.producers.json_text import to_json

log = logging.getLogger(__name__)

#: Fields whose text is what people and models wrote; ids, names of tools and models, and the like are left alone.
TEXT_FIELDS = frozenset({"content", "thinking", "error_message", "reason", "message", "stack", "finish_reason"})
JSON_FIELDS = frozenset({"input", "output", "parameters"})
_HOLDERS = frozenset({"error", "labels"})
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}").fullmatch
DEPTH_MAX = 200

Mask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A rule: every match of a regular expression is masked.

    Raises UserError for an expression that is none, or that could take more than linear time by nesting unbounded
    repeats or by referring back.
    """

    name: str
    expression: str

    def __post_init__(self) -> None:
        if not _NAME(self.name):
            raise UserError(f"redaction: {self.name!r} is no name of lower-case letters, digits, _ and -")
        try:
            parsed = _parser.parse(self.expression)
        except (re.error, RecursionError, OverflowError) as error:
            raise UserError(f"redaction: {self.name}: {error}") from None
        if why := _slow(parsed, inside_repeat=False):
            raise UserError(f"redaction: {self.name}: {why}, which may take for ever on some texts")


#: What `Procurator` takes as a rule.
Rule = str | Pattern | Mask


class Redactor:
    """Applies rules, in the order given, to every text of an event."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Raises UserError for a built-in detector that there is not."""
        self._rules = [_compiled(rule) for rule in rules]
        self._complained: set[str] = set()

    def redact(self, payload: MutableMapping[str, Any]) -> list[dict[str, Any]]:
        """Mask the texts of ``payload`` in place; return the marks for ``redactions``."""
        counts: dict[tuple[str, str], int] = {}
        self._holder(payload, "", counts)
        return [{"field": field, "rule": rule, "count": count} for (field, rule), count in counts.items()]

    def _holder(self, holder: MutableMapping[str, Any], prefix: str, counts: dict[tuple[str, str], int]) -> None:
        for name, value in list(holder.items()):
            field = prefix + name
            if isinstance(value, dict) and name in _HOLDERS:
                self._holder(value, f"{field}.", counts)
            elif isinstance(value, str) and value:
                if name in JSON_FIELDS:
                    holder[name] = self._json(value, field, counts)
                elif name in TEXT_FIELDS or prefix == "labels.":
                    holder[name] = self._text(value, field, counts)

    def _text(self, text: str, field: str, counts: dict[tuple[str, str], int]) -> str:
        for name, detect in self._rules:
            marker = f"[redacted:{name}]"
            try:
                text, found = detect(text, marker)
            except Exception as error:  # noqa: BLE001 - the rule is the agent's own code
                if name not in self._complained:
                    self._complained.add(name)
                    kind = type(error).__name__  # Its message may hold what is to be hidden.
                    log.error("redaction: rule %s fails (%s): what it fails on is masked whole", name, kind)
                text, found = marker, 1
            if found:
                counts[field, name] = counts.get((field, name), 0) + found
        return text

    def _json(self, text: str, field: str, counts: dict[tuple[str, str], int]) -> str:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):  # A model's own idea of JSON, for example.
            return self._text(text, field, counts)
        before = sum(counts.values())
        masked = self._value(value, field, counts, 0)
        return to_json(masked) if sum(counts.values()) > before else text

    def _value(self, value: Any, field: str, counts: dict[tuple[str, str], int], depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value, field, counts)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            text = str(value)
            masked = self._text(text, field, counts)
            return value if masked == text else masked
        if depth >= DEPTH_MAX:
            return self._text(to_json(value), field, counts)
        if isinstance(value, list):
            return [self._value(item, field, counts, depth + 1) for item in value]
        return {
            self._text(key, field, counts): self._value(item, field, counts, depth + 1) for key, item in value.items()
        }


def _compiled(rule: Rule) -> tuple[str, Detector]:
    if isinstance(rule, Pattern):
        matches = re.compile(rule.expression)
        # A function, so that the marker is taken as it is.
        return rule.name, lambda text, marker: matches.subn(lambda _: marker, text)
    if isinstance(rule, str):
        if rule not in BUILT_IN:
            raise UserError(f"redaction: {rule!r} is none of {', '.join(BUILT_IN)}")
        return rule, BUILT_IN[rule]
    return getattr(rule, "__name__", "callback").strip("<>") or "callback", _detector(rule)


def _detector(mask: Mask) -> Detector:
    def detect(text: str, marker: str) -> tuple[str, int]:
        masked = mask(text)
        if not isinstance(masked, str):
            raise TypeError("a rule must return a text")
        return masked, int(masked != text)

    return detect


def _slow(parsed: Any, inside_repeat: bool) -> str | None:
    """Return what could make a parsed expression take more than linear time, None if nothing is known to."""
    for operation, argument in parsed:
        name = str(operation)
        if name in ("GROUPREF", "GROUPREF_EXISTS"):
            return "it refers back to a group"
        repeats = name in ("MAX_REPEAT", "MIN_REPEAT") and argument[1] == _parser.MAXREPEAT
        if repeats and inside_repeat:
            return "an unbounded repeat within another"
        for inner in _inner(name, argument):
            if why := _slow(inner, inside_repeat or repeats):
                return why
    return None


def _inner(name: str, argument: Any) -> list[Any]:
    match name:
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [argument[2]]
        case "SUBPATTERN":
            return [argument[3]]
        case "BRANCH":
            return list(argument[1])
        case "ASSERT" | "ASSERT_NOT":
            return [argument[1]]
        case "ATOMIC_GROUP":
            return [argument]
    return []
