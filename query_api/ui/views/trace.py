"""The message trace: turns and, where they occurred, the tool calls they triggered. Pure."""

from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from procurator.query_api.models.records import Turn
from procurator.query_api.ui.json_tree import tree
from procurator.query_api.ui.markdown import to_html

#: Turns of a window: what is rendered, fetched and laid out at once.
WINDOW_TURNS = 50
#: Longer messages are folded; longer ones still are cut, with a link to the whole text.
FOLD_CHARS = 1_600
FOLD_LINES = 24
SHOWN_CHARS_MAX = 60_000
#: Avro's int.
_TURN_INDEX_MAX = 2**31 - 1

_ICONS = {"USER": "user", "ASSISTANT": "agent", "TOOL": "tool", "SYSTEM": "gear"}
_SPOKEN = {"USER": "User", "ASSISTANT": "Assistant", "TOOL": "Tool", "SYSTEM": "System"}


@dataclass(frozen=True)
class Body:
    """A text as it is shown: ``html`` when it could be made readable, and whether it is folded or cut."""

    text: str
    html: Markup | None
    folded: bool
    cut: bool
    chars: int


@dataclass(frozen=True)
class Item:
    """A turn, its text ready to show, and the markers of the tool calls that stand with it."""

    turn: Turn
    body: Body
    thinking: Body | None
    markers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def icon(self) -> str:
        """Name of the role's icon."""
        return _ICONS.get(self.turn.role, "gear")

    @property
    def speaker(self) -> str:
        """The role as people say it."""
        return _SPOKEN.get(self.turn.role, self.turn.role)


@dataclass(frozen=True)
class Window:
    """Turns ``first`` up to, not with, ``first + WINDOW_TURNS``."""

    first: int
    items: list[Item]
    #: Calls before the first turn.
    early: list[dict[str, Any]]
    #: Calls whose turn was never recorded, or is not recorded yet.
    orphans: list[dict[str, Any]]


def window_of(turn_index: int) -> int:
    """Return where the window begins that has this turn."""
    return min(max(0, turn_index), _TURN_INDEX_MAX) // WINDOW_TURNS * WINDOW_TURNS


def neighbours(windows: list[int], first: int) -> tuple[int | None, int | None]:
    """Return where the windows before and after one begin, of windows in order; None where there is none."""
    at = windows.index(first)
    return windows[at - 1] if at else None, windows[at + 1] if at + 1 < len(windows) else None


def window(first: int, turns: list[dict[str, Any]], markers: list[dict[str, Any]], exact: bool = False) -> Window:
    """Return a window from the rows of its turns and markers; ``exact`` leaves every text as it was recorded."""
    by_turn: dict[int, list[dict[str, Any]]] = {}
    for marker in markers:
        by_turn.setdefault(marker["turn_index"], []).append(marker)
    early = by_turn.pop(-1, [])
    items = []
    for row in turns:
        turn = Turn.model_validate(row)
        # Of two turns with one index the first has the markers: they stand once.
        own = by_turn.pop(turn.turn_index, [])
        plain = exact or turn.role in ("TOOL", "SYSTEM")
        thinking = body(turn.thinking, row["thinking_chars"], exact=exact) if turn.thinking else None
        items.append(Item(turn, body(turn.content, row["content_chars"], exact=exact, plain=plain), thinking, own))
    return Window(first, items, early, [marker for rest in by_turn.values() for marker in rest])


def payload(text: str | None) -> Body | None:
    """Return a tool's input or output, JSON text, ready to show."""
    return None if text is None else body(text, len(text), plain=True, begins='{["')


def body(text: str, chars: int, *, exact: bool = False, plain: bool = False, begins: str = "{[") -> Body:
    """Return a text ready to show: JSON as a tree, else Markdown unless ``plain``, else as it is.

    ``chars`` counts the whole text, of which ``text`` is at least the first `SHOWN_CHARS_MAX` characters.
    """
    cut = chars > SHOWN_CHARS_MAX
    shown = text[:SHOWN_CHARS_MAX]
    html = None
    if not exact and not cut:
        html = tree(shown, begins) or (None if plain else to_html(shown))
    folded = chars > FOLD_CHARS or shown.count("\n") >= FOLD_LINES
    return Body(shown, html, folded, cut, chars)
