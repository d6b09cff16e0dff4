"""`oblix reload`: has the daemon read its configuration again."""

from __future__ import annotations

import argparse

from oblix.cli import daemon


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "If the file is wrong, nothing changes, and the error names the line. Hooked models stay. "
        "SIGHUP does the same."
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.set_defaults(run=lambda arguments: daemon.reload(as_json=arguments.json))
