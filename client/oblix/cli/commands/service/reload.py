"""`oblix reload`: has the daemon read its configuration again."""

from __future__ import annotations

import argparse

from oblix.cli import daemon


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "A file that is wrong changes nothing, and is told with the line. Models that programs hooked go on. "
        "SIGHUP does the same."
    )
    parser.add_argument("--json", action="store_true", help="print what became of it as JSON")
    parser.set_defaults(run=lambda arguments: daemon.reload(as_json=arguments.json))
