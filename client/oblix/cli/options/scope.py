"""The options that state which sessions a program may see, and the SDKs that are installed on wish."""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

from oblix.cli.errors import CommandError
from oblix.cli.options.pairs import pairs
from oblix.protocols.conversations import Scope


def add(parser: argparse.ArgumentParser) -> None:
    """Declare `--filter` and `--session`."""
    parser.add_argument("--filter", **pairs("only sessions whose metadata has this value"))
    parser.add_argument(
        "--session",
        action="append",
        default=[],
        metavar="ID",
        help="also this session, whatever its metadata, and a local-only one by this alone; may be repeated",
    )


def scope_of(arguments: argparse.Namespace, *, is_all: bool = False, local_only: bool = False) -> Scope:
    """Return what the options say. Where they name sessions and no filter, it is these, unless `is_all`."""
    is_named_only = arguments.session and not arguments.filter and not is_all
    wanted = None if is_named_only else dict(arguments.filter)
    return Scope(wanted, frozenset(arguments.session), local_only)


def load(module: str, extra: str) -> ModuleType:
    """Import a module that needs an extra. Raises CommandError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise CommandError(
            f"`oblix {extra}` needs the package {error.name}, which is an extra: "
            f'install it with `pip install "oblix[{extra}]"`, from a clone `pip install ".[{extra}]"`.'
        ) from error
