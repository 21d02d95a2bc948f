"""A real MCP server with a few tools, for the tests: run as a program it speaks over standard input and output."""

import anyio
from mcp.server.mcpserver import MCPServer

server = MCPServer("calculator")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def divide(a: int, b: int) -> float:
    """Divide, or fail."""
    return a / b


@server.tool()
async def sleep(seconds: float) -> str:
    """Answer late."""
    await anyio.sleep(seconds)
    return "awake"


if __name__ == "__main__":
    server.run("stdio")
