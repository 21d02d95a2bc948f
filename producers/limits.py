"""Text that fits the wire: valid UTF-8, bounded size, and a mark where something had to change. Pure.

- A field up to 8 MiB of UTF-8 is kept whole. What is beyond is cut at a character, and marked in ``truncations`` with
  the whole value's size and SHA-256. All fields of an event together keep below the 15 MiB that a record may hold.
- A lone surrogate (half of a UTF-16 pair; JSON can smuggle it in, UTF-8 cannot carry it) becomes its escape, the six
  characters ``\\ud800``, and is marked in ``redactions`` with the rule ``lone_surrogate`` and how many there were.
- A name, an id or a label's value is kept whole up to the 1,024 characters that the ledger takes. Of a longer one stand
  the first characters, an ellipsis and the SHA-256 of the whole in hex: different ones stay different. It is marked in
  ``truncations`` too, unless it is the organisation, the agent or the owner team, whose event has no place for a mark.
"""

import hashlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from procurator.events import NAME_CHARS_MAX, NAMES

FIELD_BYTES_MAX = 8 * 1024 * 1024
EVENT_BYTES_MAX = 15 * 1024 * 1024
SURROGATE_RULE = "lone_surrogate"
_NAMES = frozenset(field for fields in NAMES.values() for field in fields)
_LABELS = "labels"
_DIGEST_CHARS = 64

Marks = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def fits(kind: str, payload: Mapping[str, Any], size: int) -> bool:
    """Tell whether an event that was written as ``size`` bytes is surely within the limits; if not, ask `fit`."""
    if size <= NAME_CHARS_MAX:
        return True
    if size > FIELD_BYTES_MAX or _LABELS in payload:
        return False
    for name in NAMES.get(kind, ()):
        text = payload.get(name)
        if text is not None and len(text) > NAME_CHARS_MAX:
            return False
    return True


def fit(payload: MutableMapping[str, Any]) -> Marks:
    """Make every text in ``payload`` (nested mappings included) fit, in place; return (truncations, redactions)."""
    truncations: list[dict[str, Any]] = []
    redactions: list[dict[str, Any]] = []
    budget = EVENT_BYTES_MAX
    for holder, name, path in _texts(payload, ""):
        whole, surrogates = encode(holder[name])
        if surrogates:
            redactions.append({"field": path, "rule": SURROGATE_RULE, "count": surrogates})
            holder[name] = whole.decode()
        kept = text = holder[name]
        limit = min(FIELD_BYTES_MAX, budget)
        if name in _NAMES or path.startswith(f"{_LABELS}."):
            kept = shortened(text)
        elif len(whole) > limit:
            # Dropping the bytes of a character that the limit splits.
            kept = whole[:limit].decode(errors="ignore")
        if kept is not text:
            digest = hashlib.sha256(whole).digest()
            truncations.append({"field": path, "original_bytes": len(whole), "sha256": digest})
            whole = kept.encode()
            holder[name] = kept
        budget -= len(whole)
    return truncations, redactions


def encode(text: str) -> tuple[bytes, int]:
    """Return UTF-8 of ``text`` with lone surrogates escaped, and how many there were."""
    try:
        return text.encode(), 0
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace"), sum("\ud800" <= character <= "\udfff" for character in text)


def clean(text: str) -> str:
    """Return ``text`` with lone surrogates escaped, and short; for names and ids that have no place for a mark."""
    return shortened(text if text.isascii() else encode(text)[0].decode())


def shortened(name: str) -> str:
    """Return ``name`` if it is within the limit of names, else its beginning and its digest (see above)."""
    if len(name) <= NAME_CHARS_MAX:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{name[: NAME_CHARS_MAX - _DIGEST_CHARS - 1]}…{digest}"


def _texts(holder: MutableMapping[str, Any], prefix: str) -> Iterator[tuple[MutableMapping[str, Any], str, str]]:
    for name, value in list(holder.items()):
        if isinstance(value, str):
            yield holder, name, prefix + name
        elif isinstance(value, dict):
            yield from _texts(value, f"{prefix}{name}.")
