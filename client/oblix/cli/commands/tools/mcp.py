"""`oblix mcp`: one's conversations, for agents."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

import oblix
from oblix.cli import preferences
from oblix.cli.errors import CommandError
from oblix.cli.options import scope

EPILOG = """examples, as an agent's configuration starts it:
  oblix mcp --filter project=garden
  oblix mcp --all --allow-notes

Without an option, [mcp] in the configuration says it.
The agent's model may be a cloud model, and reads what is in scope. Local-only sessions are
in scope only by name, with --session. The page docs/how-to/agents-memory.md has more."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("--all", action="store_true", help="every session that is not local-only")
    scope.add(parser)
    parser.add_argument("--allow-notes", action="store_true", help="let the agent append notes to sessions")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Serve one agent until it closes standard input."""
    wanted = scope.table_of("mcp", arguments)
    if wanted.is_empty:
        raise CommandError(
            "say what the agent may see: --filter KEY=VALUE, --session ID, or --all; "
            f"or under [mcp] in {preferences.config_path()}."
        )
    if sys.stdin.isatty():
        raise CommandError("an agent starts `oblix mcp`: see docs/how-to/agents-memory.md.")
    module = scope.load("oblix.protocols.mcp_server", "mcp")
    asyncio.run(_serve(module, wanted))


async def _serve(module: Any, scope_table: scope.ScopeTable) -> None:
    client = oblix.OblixClient()
    limits = scope_table.scope(is_all=scope_table.all)
    try:
        await module.server_of(client, limits, may_append=scope_table.allow_notes).run_stdio_async()
    finally:
        await client.shutdown()
