"""An exception as the ledger keeps it."""

import traceback
from typing import Any

from procurator.producers.json_text import safe_text

STACK_CHARACTERS_MAX = 64 * 1024


def describe(error: BaseException) -> dict[str, Any]:
    """Return type, message and stack of ``error``; of a long stack, its end."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        stack = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - an exception whose own text raises must not hide that the session failed
        stack = None
    return {
        "type": name,
        "message": safe_text(error),
        "stack": stack and stack[-STACK_CHARACTERS_MAX:],
    }
