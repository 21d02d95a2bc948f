"""Which session the running code belongs to: in its task or thread, in a thread that it starts, in another process."""

import contextvars
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from procurator.events import is_uuid

if TYPE_CHECKING:
    from procurator.producers.session import Session

#: The header of an HTTP request, and the key in an A2A message's ``metadata``, that names the session it comes from.
PARENT_HEADER = "procurator-parent-session"

P = ParamSpec("P")
R = TypeVar("R")
_current: contextvars.ContextVar["Session | None"] = contextvars.ContextVar("procurator_session", default=None)


def current_session() -> "Session | None":
    """Return the session whose block the running task or thread is in, the innermost of several; None outside."""
    return _current.get()


def enter(session: "Session") -> contextvars.Token["Session | None"]:
    """Make ``session`` the current one, until `leave`."""
    return _current.set(session)


def leave(token: contextvars.Token["Session | None"]) -> None:
    """Make current again what was."""
    try:
        _current.reset(token)
    except ValueError:  # The block is left in another context than it was entered in, as a generator may be.
        _current.set(token.old_value if token.old_value is not token.MISSING else None)


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function`` bound to the caller's context, for a thread: ``executor.submit(carry(work), …)``.

    `asyncio.to_thread` and tasks carry it by themselves.
    """
    context = contextvars.copy_context()

    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # A copy for each call: one context cannot be entered by two threads at a time.
        return context.copy().run(function, *args, **kwargs)

    return carried


def inject(carrier: MutableMapping[str, Any], session: "Session | None" = None) -> None:
    """Add to headers, or to an A2A message's metadata, the session that the call comes from (default: the current one).

    Adds nothing outside a session.
    """
    session = session or current_session()
    if session is not None:
        carrier[PARENT_HEADER] = session.session_id


def extract(carrier: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> str | None:
    """Return the ``parent_session_id`` in headers or metadata: a mapping or pairs, of text or bytes, in any case.

    None where there is none, or something that is no session's id: it came over the network.
    """
    pairs = carrier.items() if isinstance(carrier, Mapping) else carrier
    for name, value in pairs:
        if _text(name).lower() == PARENT_HEADER:
            parent = _text(value).lower()
            return parent if is_uuid(parent) else None
    return None


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
