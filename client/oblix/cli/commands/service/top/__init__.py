"""`oblix top`: what the machine, the models and the running executions are up to, live."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from oblix.cli import daemon
from oblix.cli.commands.service.top.state import once

__all__ = ["configure", "run"]

KEYS = "q or Ctrl-C ends it. It starts no daemon, but waits for one."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = KEYS
    parser.add_argument("--once", action="store_true", help="print it once, as in a pipe")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Show it until told to end; once where standard output is no terminal."""
    is_shown = sys.stdout.isatty() and sys.stdin.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if arguments.once or not is_shown:
        _print()
        return
    from oblix.cli.commands.service.top.screen import show

    asyncio.run(show())


def _print() -> None:
    from rich.console import Console

    from oblix.cli.commands.service.top.view import full_view

    state = once(daemon.running_daemon())
    console = Console(highlight=False, soft_wrap=False)
    with console.capture() as page:
        console.print(full_view(state, console.width))
    for line in page.get().splitlines():
        print(line.rstrip())
