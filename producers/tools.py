"""Functions that record each of their calls as a tool call of a session."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from procurator.errors import UserError
from procurator.producers.context import current_session

if TYPE_CHECKING:
    from procurator.producers.calls import ToolCall
    from procurator.producers.session import Session

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Recorder:
    """Decorates functions and coroutine functions: arguments become the input, what they return the output.

    ``session_of`` says whose call it is; where it says None, nothing is recorded.
    """

    session_of: "Callable[[], Session | None]"
    name: str | None = None
    mcp_server_id: str | None = None
    timeout_ms: float | None = None

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Raises UserError for a generator function, whose call ends long before its work."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UserError(f"tool: {_name(function)} is a generator; record it with `with session.tool_call(…)`")
        signature = inspect.signature(function)

        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def recorded(*args: P.args, **kwargs: P.kwargs) -> Any:
                call = self._call(function, signature, args, kwargs)
                if call is None:
                    return await function(*args, **kwargs)
                async with call:
                    result = await function(*args, **kwargs)
                    call.complete(result)
                return result

            return cast("Callable[P, R]", recorded)

        @wraps(function)
        def recorded_plain(*args: P.args, **kwargs: P.kwargs) -> R:
            call = self._call(function, signature, args, kwargs)
            if call is None:
                return function(*args, **kwargs)
            with call:
                result = function(*args, **kwargs)
                call.complete(result)
            return result

        return recorded_plain

    def _call(
        self, function: Callable[..., Any], signature: inspect.Signature, args: Any, kwargs: Any
    ) -> "ToolCall | None":
        session = self.session_of()
        if session is None:
            return None
        try:
            arguments = dict(signature.bind(*args, **kwargs).arguments)
        except TypeError:  # The call itself will say what is wrong with it.
            arguments = {"args": args, "kwargs": kwargs}
        for receiver in ("self", "cls"):
            arguments.pop(receiver, None)
        return session.tool_call(
            self.name or _name(function), arguments, mcp_server_id=self.mcp_server_id, timeout_ms=self.timeout_ms
        )


@overload
def tool(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def tool(*, name: str | None = None, mcp_server_id: str | None = None, timeout_ms: float | None = None) -> Recorder: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Record each call of a function in the session that is current then; outside a session it just runs.

    Use it as ``@tool`` or ``@tool(name=…, mcp_server_id=…, timeout_ms=…)``. ``timeout_ms`` is recorded, not enforced.
    `Session.tool` does the same for one session.
    """
    recorder = Recorder(current_session, **options)
    return recorder if function is None else recorder(function)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
