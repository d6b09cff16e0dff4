"""`oblix plot`: a picture of the last minutes."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from oblix._convert import file_io
from oblix.cli import daemon
from oblix.cli.commands.service.plot.picture import picture
from oblix.cli.errors import CommandError
from oblix.v1 import monitor_pb2

__all__ = ["configure", "run"]

LONGEST_S = 900
DEFAULT_FILE = "oblix-plot.svg"
ABOUT = """The chart is an SVG file for any browser. It shows the load of this machine and of Oblix's own
models, how well cloud models are reached, and which model each prompt went to. The daemon keeps fifteen
minutes, in memory only."""
_SECONDS = {"s": 1, "m": 60}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = ABOUT
    parser.add_argument(
        "--last", metavar="TIME", type=_seconds, default=LONGEST_S, help="90s or 15m, the most (the default)"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=_svg,
        default=DEFAULT_FILE,
        help=f"{DEFAULT_FILE} by default; an existing file is replaced; - is standard output",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write the picture. Raises CommandError where its directory is not there."""
    folder = Path(arguments.output).parent
    if not folder.is_dir():
        raise CommandError(f"{folder} is no directory: make it first, or give another --output.")
    request = monitor_pb2.GetHistoryRequest(duration=Duration(seconds=arguments.last))
    history = daemon.running_daemon().call(lambda link: link.monitor.GetHistory, request)
    drawn = picture(history, arguments.last)
    if arguments.output == "-":
        print(drawn)
        return
    file_io.write(Path(arguments.output), drawn)
    count = len(history.snapshots)
    print(
        f"oblix: {arguments.output} shows {count} samples, {len(history.prompts)} prompts.", file=sys.stderr
    )


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d{1,6})([sm])", text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 1 <= seconds <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s or 15m, from 1s to 15m")
    return seconds


def _svg(name: str) -> str:
    if name != "-" and Path(name).suffix.lower() != ".svg":
        raise argparse.ArgumentTypeError(f"{name!r} does not end in .svg: that is what it draws")
    return name
