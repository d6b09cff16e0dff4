"""`oblix backup`: everything that the daemon keeps, in one file."""

from __future__ import annotations

import argparse
import asyncio
import sys

import oblix
from oblix.cli.output.progress import progress

ABOUT = """The file contains all conversations as they are at one moment. Programs can continue to write
meanwhile. To restore it, run `oblix stop`, then `oblixd restore FILE`."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = ABOUT
    parser.add_argument("file", metavar="FILE", help="the file to write; an existing one is replaced")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write the file, with a progress bar where that takes longer than a second."""
    with progress() as show:
        size = asyncio.run(
            oblix.OblixClient().backup(
                arguments.file, on_progress=lambda done, total: show("backing up", done, total)
            )
        )
    print(f"oblix: {arguments.file} holds everything, {size:,} bytes.", file=sys.stderr)
