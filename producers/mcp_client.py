"""The official MCP client, recorded: every tool call with its server, input, output and how it ended.

    recorded = RecordedMcp(client, session)        # an `mcp.ClientSession`, or `mcp.Client`
    result = await recorded.call_tool("add", {"a": 1, "b": 2})

Everything else of the client is passed through. Needs ``procurator-ledger[mcp]``; nothing of `mcp` is imported here.
"""

from typing import TYPE_CHECKING, Any

from procurator.producers.context import current_session

if TYPE_CHECKING:
    from procurator.producers.calls import ToolCall
    from procurator.producers.session import Session

#: What a request that took too long is called: JSON-RPC's code in MCP, and HTTP's in version 1 of the library.
_TIMEOUT_CODES = (-32001, 408)


class RecordedMcp:
    """Stands in for an MCP client session.

    ``session`` is whose calls these are, by default the current one at each call; outside a session they just run.
    ``server`` is recorded as the ``mcp_server_id``, by default the name that the server gave when it was connected to.
    """

    def __init__(self, client: Any, session: "Session | None" = None, *, server: str | None = None) -> None:
        self._client = client
        self._session = session
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    @property
    def server(self) -> str:
        """The server's name in the ledger."""
        if self._server is not None:
            return self._server
        info = getattr(self._client, "server_info", None)
        return getattr(info, "name", None) or "mcp"

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        read_timeout_seconds: Any = None,
        *args: Any,
        **more: Any,
    ) -> Any:
        """Do as the client's `call_tool`, and record it.

        A result that says it is an error is ERROR; a request that timed out TIMEOUT. Exceptions are never swallowed.
        """
        session = self._session or current_session()
        if session is None:
            return await self._client.call_tool(name, arguments, read_timeout_seconds, *args, **more)
        timeout_ms = _milliseconds(read_timeout_seconds)
        async with session.tool_call(name, arguments or {}, mcp_server_id=self.server, timeout_ms=timeout_ms) as call:
            try:
                result = await self._client.call_tool(name, arguments, read_timeout_seconds, *args, **more)
            except Exception as error:
                if _code(error) in _TIMEOUT_CODES:
                    call.complete(status="TIMEOUT", error_message=str(error))
                raise
            _complete(call, result)
        return result


def _complete(call: "ToolCall", result: Any) -> None:
    output = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    if getattr(result, "is_error", None) or getattr(result, "isError", None):
        texts = [text for item in getattr(result, "content", ()) if (text := getattr(item, "text", None))]
        call.complete(output, status="ERROR", error_message="\n".join(texts) or "the tool reported an error")
    else:
        call.complete(output)


def _code(error: Exception) -> Any:
    """Return the JSON-RPC code of what the library raises, None for anything else."""
    return getattr(getattr(error, "error", None), "code", None)


def _milliseconds(timeout: Any) -> float | None:
    """Return a timeout as the library takes it: seconds, or a timedelta."""
    if timeout is None:
        return None
    return 1000.0 * (timeout.total_seconds() if hasattr(timeout, "total_seconds") else float(timeout))
