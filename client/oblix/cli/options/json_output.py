"""The option --json, which everything takes that prints facts."""

from __future__ import annotations

import argparse


def add_json(
    parser: argparse.ArgumentParser, help_: str = "print it as JSON", *, is_default: bool = True
) -> None:
    """Declare `--json`.

    `is_default=False` for a subcommand: given before it or behind it, the option means the same.
    """
    default = False if is_default else argparse.SUPPRESS
    parser.add_argument("--json", action="store_true", default=default, help=help_)
