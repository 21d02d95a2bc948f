"""One `[[price]]` table of the operator's file, and where its fields stand, so that an error names line and field."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from procurator.clock import to_us
from procurator.errors import UserError

NAME_CHARS_MAX = 256


class OverrideError(UserError, ValueError):
    """The file cannot be used, none of it; the prices before stay in force. ``line`` counts from 1."""

    def __init__(self, file: str, line: int, field: str, problem: str) -> None:
        where = f"{file}, line {line}" + (f", {field}" if field else "")
        super().__init__(f"{where}: {problem}; the prices before stay in force")
        self.line = line
        self.field = field


@dataclass(frozen=True)
class Entry:
    """One ``[[price]]``: its fields, and where it stands in the file."""

    file: str
    text: str
    number: int
    fields: Mapping[str, Any]

    def fail(self, field: str, problem: str, tier: int = 0) -> NoReturn:
        """Raise OverrideError at the field, in the n-th tier if ``tier`` is given."""
        raise OverrideError(self.file, line_of(self.text, self.number, field, tier), field, problem)

    def name(self, field: str, value: Any) -> str:
        """Return ``value`` as a name, without blanks around it."""
        if not isinstance(value, str) or not value.strip() or len(value) > NAME_CHARS_MAX:
            self.fail(field, f"must be a name of 1 to {NAME_CHARS_MAX} characters, not {value!r}")
        return value.strip()

    def time_us(self, field: str) -> int | None:
        """Return the field's time in µs since the epoch, None when it is absent."""
        value = self.fields.get(field)
        if value is None:
            return None
        if not isinstance(value, datetime) or value.tzinfo is None:
            self.fail(field, f"must be a time with a zone such as 2026-12-01T00:00:00Z, not {value}")
        return to_us(value)


def blocks(text: str) -> list[tuple[int, list[str]]]:
    """Return the text cut at each ``[[price]]``: (number of the first line from 1, lines); first what stands before."""
    blocks: list[tuple[int, list[str]]] = [(1, [])]
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(r"\s*\[\[\s*price\s*\]\]", line):
            blocks.append((number, []))
        blocks[-1][1].append(line)
    return blocks


def line_of(text: str, block: int, field: str, tier: int = 0) -> int:
    """Return the line of ``field`` in the n-th ``[[price]]`` (0: before the first), else that of the table's head.

    With ``tier`` the search begins at the n-th ``[[price.tiers]]`` of the table.
    """
    start, lines = blocks(text)[block]
    heads = [at for at, line in enumerate(lines) if re.match(r"\s*\[\[\s*price\s*\.\s*tiers\s*\]\]", line)]
    first = heads[tier - 1] if 0 < tier <= len(heads) else 0
    pattern = re.compile(rf"(^|[\s{{,.\[])[\"']?{re.escape(field)}[\"']?\s*(=|\]|\.)")
    found = (at for at in range(first, len(lines)) if pattern.search(lines[at].split("#")[0]))
    return start + next(found, first)
