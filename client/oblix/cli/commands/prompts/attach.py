"""`oblix attach`: an answer that runs in the daemon, or ended there."""

from __future__ import annotations

import argparse
import asyncio

import oblix
from oblix.cli.options import execution_ids
from oblix.cli.output import answers, screens, tables
from oblix.cli.output.events import Completion, of_client

EXAMPLES = """examples:
  oblix attach 3f1d0a52-8c57-4f0c-9d1e-2f6f6a3f1c11
  oblix ps

Ctrl-C ends the command. A detached answer continues; any other answer that nobody else reads is cancelled."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("id", metavar="ID", help=execution_ids.HELP)
    parser.add_argument(
        "--offset", metavar="N", type=int, default=0, help="leave out the first N bytes of UTF-8 of it"
    )
    parser.add_argument("--json", action="store_true", help="print the whole response as JSON at the end")
    parser.add_argument("--no-metrics", action="store_true", help="print the answer and nothing else")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print what there is of the answer, and what comes."""
    completed = asyncio.run(_attach(arguments))
    if arguments.json:
        tables.show_json(completed.response() | {"session_id": completed.session_id})


async def _attach(arguments: argparse.Namespace) -> Completion:
    async with oblix.OblixClient() as client:
        events = of_client(client.attach(execution_ids.resolve(client, arguments.id), arguments.offset))
        summary = None if arguments.json or arguments.no_metrics else answers.full_report
        try:
            screen = None if arguments.json else screens.Text()
            return await answers.show(events, screen=screen, summary=summary)
        except asyncio.CancelledError:
            answers.note("\nleft; `oblix ps` shows whether it goes on")
            raise
