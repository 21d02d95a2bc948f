"""Calls of the official MCP client to a real server, in another process and in this one, are recorded as they end."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from procurator.events import kind_of
from procurator.producers import Procurator
from procurator.producers.mcp_client import RecordedMcp
from procurator.producers.memory import MemoryTransport

SERVER = Path(__file__).with_name("mcp_server.py")


@asynccontextmanager
async def over_stdio() -> AsyncIterator[Any]:
    parameters = StdioServerParameters(command=sys.executable, args=[str(SERVER)])
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as client:
        await client.initialize()
        yield client


@asynccontextmanager
async def in_memory() -> AsyncIterator[Any]:
    import importlib.util

    spec = importlib.util.spec_from_file_location("mcp_server", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    async with Client(module.server) as client:
        yield client


@pytest.mark.parametrize("connected", [over_stdio, in_memory])
async def test_every_call_is_recorded_as_it_ended(connected: Any) -> None:
    transport = MemoryTransport()
    with Procurator(transport=transport, environment={}) as procurator:
        async with connected() as client, procurator.session(agent="a") as session:
            recorded = RecordedMcp(client, session)
            assert {listed.name for listed in (await recorded.list_tools()).tools} == {"add", "divide", "sleep"}
            added = await recorded.call_tool("add", {"a": 1, "b": 2})
            assert added.structured_content == {"result": 3}
            assert (await recorded.call_tool("divide", {"a": 1, "b": 0})).is_error
            with pytest.raises(Exception, match="[Tt]imed out"):
                await recorded.call_tool("sleep", {"seconds": 30}, 0.2)
    started = [event["payload"][1] for event in transport.events if kind_of(event) == "ToolCallStarted"]
    completed = [event["payload"][1] for event in transport.events if kind_of(event) == "ToolCallCompleted"]
    assert [(call["tool_name"], json.loads(call["input"]), call["mcp_server_id"]) for call in started] == [
        ("add", {"a": 1, "b": 2}, "calculator"),
        ("divide", {"a": 1, "b": 0}, "calculator"),
        ("sleep", {"seconds": 30}, "calculator"),
    ]
    assert [call["status"] for call in completed] == ["SUCCESS", "ERROR", "TIMEOUT"]
    assert json.loads(completed[0]["output"])["structuredContent"] == {"result": 3}
    assert "Error executing tool divide" in completed[1]["error_message"]
    assert completed[2]["timeout_ms"] == 200


async def test_the_current_session_is_taken_and_outside_one_calls_just_run() -> None:
    transport = MemoryTransport()
    async with in_memory() as client:
        recorded = RecordedMcp(client, server="tools")
        await recorded.call_tool("add", {"a": 1, "b": 2})
        with Procurator(transport=transport, environment={}) as procurator:
            async with procurator.session():
                await recorded.call_tool("add", {"a": 3, "b": 4})
    calls = [event["payload"][1] for event in transport.events if kind_of(event) == "ToolCallStarted"]
    assert [(call["mcp_server_id"], json.loads(call["input"])) for call in calls] == [("tools", {"a": 3, "b": 4})]
