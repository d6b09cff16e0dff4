"""The page about the command line names every command."""

from __future__ import annotations

import argparse
import re

from oblix.cli.table import COMMANDS, parser_of
from support.repository import files


def _subcommands(command: str) -> set[str]:
    groups = [
        action for action in parser_of(command)._actions if isinstance(action, argparse._SubParsersAction)
    ]
    return {name for group in groups for name in group.choices}


def _first_cells() -> list[str]:
    lines = (files.ROOT / "docs" / "reference" / "cli.md").read_text().splitlines()
    return [line.split("|")[1] for line in lines if line.startswith("| `")]


def test_every_command_is_on_the_page() -> None:
    named = {word for cell in _first_cells() for word in re.findall(r"`oblix (\w+)", cell)}
    assert named == set(COMMANDS)


def test_every_subcommand_of_sessions_is_on_the_page() -> None:
    named = {word for cell in _first_cells() for word in re.findall(r"`([a-z]+)[ `]", cell)}
    assert named - {"oblix"} == _subcommands("sessions")
