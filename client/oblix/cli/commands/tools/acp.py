"""`oblix acp`: an agent for editors."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Any

import oblix
from oblix.cli.errors import CommandError
from oblix.cli.options import models, scope

EPILOG = """An editor starts it and speaks the Agent Client Protocol over standard input and output.
In Zed's settings:
  "agent_servers": {"Oblix": {"command": "oblix", "args": ["acp"]}}
The page docs/how-to/editors.md has other editors."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    models.add_model(parser)
    models.add_policy(parser)
    parser.add_argument(
        "--local-only",
        action="store_true",
        help="let no cloud model see the sessions that the editor makes; those that are so already are shown",
    )
    scope.add(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Serve one editor until it closes standard input."""
    if sys.stdin.isatty():
        raise CommandError("an editor starts `oblix acp`: see docs/how-to/editors.md. To talk: oblix chat")
    agent = scope.load("oblix.protocols.acp.agent", "acp")
    asyncio.run(_serve(agent, arguments))


async def _serve(agent: Any, arguments: argparse.Namespace) -> None:
    await serve(agent, arguments, *await _streams(agent.MAX_LINE_BYTES))


async def serve(
    agent: Any, arguments: argparse.Namespace, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
) -> None:
    """Serve one editor over these streams. `agent`: the module, which is loaded late."""
    wanted = scope.table_of("acp", arguments)
    client = oblix.OblixClient()
    defaults = agent.Defaults(
        model=await models.hook(client, arguments.model, arguments) or agent.ROUTED,
        policy=arguments.policy or "",
        local_only=wanted.local_only,
    )
    serving = agent.OblixAgent(client, wanted.scope(is_all=True), defaults)
    try:
        await agent.run(serving, writer, reader)
    finally:
        await serving.shutdown()
        await client.shutdown()


async def _streams(limit: int) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
    """Return the protocol's streams. Whatever else writes to standard output goes to standard error."""
    loop = asyncio.get_running_loop()
    wire = os.dup(1)
    os.dup2(2, 1)
    reader = asyncio.StreamReader(limit=limit)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb"))
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop), os.fdopen(wire, "wb")
    )
    return asyncio.StreamWriter(transport, protocol, None, loop), reader
