"""`oblix cancel`: ends answers that run or wait."""

from __future__ import annotations

import argparse
import asyncio

from oblix import OblixClient


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = "What had come of the answer is kept in its session. One that has ended stays as it was."
    parser.add_argument("ids", nargs="+", metavar="ID", help="a request's id, as `oblix ps` prints it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Cancel each, and say how it ended."""
    asyncio.run(_cancel(arguments.ids))


async def _cancel(ids: list[str]) -> None:
    async with OblixClient() as client:
        for request_id in ids:
            execution = await client.cancel(request_id)
            print(f"{request_id}\t{execution['state']}")
