"""`oblix cancel`: ends answers that run or wait."""

from __future__ import annotations

import argparse
import asyncio

import oblix
from oblix.cli.errors import CommandError
from oblix.cli.options import execution_ids
from oblix.cli.output import answers
from oblix.errors import InvalidArgumentError, NotFoundError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "The session keeps the part of the answer that arrived. An answer that has ended does not change. "
        "If an id is unknown, the others are still cancelled, and the exit code is 1."
    )
    parser.add_argument("ids", nargs="+", metavar="ID", help=execution_ids.HELP)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Cancel each, and say how it ended. Returns 1 where one was not found."""
    return 0 if asyncio.run(_cancel(arguments.ids)) else 1


async def _cancel(ids: list[str]) -> bool:
    """Return whether all of them were known."""
    async with oblix.OblixClient() as client:
        return all([await _is_known(client, request_id) for request_id in ids])


async def _is_known(client: oblix.OblixClient, id_: str) -> bool:
    try:
        execution = await client.cancel(execution_ids.resolve(client, id_))
    except (NotFoundError, InvalidArgumentError, CommandError) as error:
        answers.note(f"oblix: {error}")
        return False
    print(f"{execution['request_id']}\t{execution['state']}")
    return True
