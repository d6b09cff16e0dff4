"""An agent that starts `oblix mcp` and talks to it through the protocol's own SDK."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client


@asynccontextmanager
async def connect(*words: str) -> AsyncIterator[Client]:
    """Start `oblix mcp WORDS` and say hello."""
    started = StdioServerParameters(
        command=sys.executable, args=["-m", "oblix", "mcp", *words], env=dict(os.environ)
    )
    async with Client(stdio_client(started)) as agent:
        yield agent
