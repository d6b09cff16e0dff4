"""What programs may see of the conversations: by options, or by `[mcp]` and `[acp]` of the configuration.

    [mcp]
    filter = { project = "garden" }
    sessions = ["01a20478-722c-7ed5-a194-3369302ec6b5"]
    allow_notes = true

    [acp]
    local_only = true

Options add to the configuration and never undo it: the filters of both must hold, so that a command line
out of somebody else's project shows no more than the person allowed. The SDKs that serve these programs are
installed on wish, and imported here.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from oblix._convert.values import Json
from oblix.cli import preferences
from oblix.cli.errors import CommandError
from oblix.cli.options.pairs import pairs
from oblix.cli.parser import suggestion
from oblix.protocols.conversations import Scope


@dataclass(frozen=True, slots=True)
class ScopeTable:
    """What is stated for one program."""

    filter: Mapping[str, Json] = field(default_factory=dict)
    """Metadata that a session must have."""
    sessions: Sequence[str] = ()
    """Sessions that may be seen by name, local-only ones too."""
    all: bool = False
    """Whether every session that is not local-only may be seen."""
    allow_notes: bool = False
    """Whether notes may be appended."""
    local_only: bool = False
    """Whether what is made is local-only, and local-only sessions that fit may be seen."""

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is in scope."""
        return not (self.all or self.filter or self.sessions)

    def scope(self, *, is_all: bool) -> Scope:
        """Return the scope. `is_all`: whether sessions are named beside all others, not instead of them."""
        is_named_only = self.sessions and not self.filter and not is_all
        wanted = None if is_named_only else dict(self.filter)
        return Scope(wanted, frozenset(self.sessions), self.local_only)


_KEYS = {"mcp": ("filter", "sessions", "all", "allow_notes"), "acp": ("filter", "sessions", "local_only")}


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


def table_of(program: str, arguments: argparse.Namespace) -> ScopeTable:
    """Return what the options and the configuration say of `mcp` or `acp`. Raises CommandError."""
    table = _configured_table(program)
    given = dict(arguments.filter)
    for key, value in table.filter.items():
        if key in given and given[key] != value:
            raise CommandError(
                f"[{program}] in {preferences.config_path()} limits {key} to {value!r}, "
                f"and --filter asks for {given[key]!r}: nothing can be both."
            )
    switches = ("all", "allow_notes", "local_only")
    return ScopeTable(
        {**given, **table.filter},
        (*table.sessions, *arguments.session),
        **{name: getattr(table, name) or getattr(arguments, name, False) for name in switches},
    )


def _configured_table(program: str) -> ScopeTable:
    known = _KEYS[program]
    table = preferences.read_table(program)
    for key, value in table.items():
        if key not in known:
            raise _wrong(f"[{program}] has no {key}.{suggestion(key, known)}")
        if key == "filter" and not isinstance(value, dict):
            raise _wrong(f'{program}.filter is a table such as {{ project = "garden" }}, not {value!r}.')
        if key == "sessions" and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            raise _wrong(f"{program}.sessions is a list of session ids, not {value!r}.")
        if key not in ("filter", "sessions") and not isinstance(value, bool):
            raise _wrong(f"{program}.{key} is true or false, not {value!r}.")
    return ScopeTable(**table)


def _wrong(problem: str) -> CommandError:
    return CommandError(f"{preferences.config_path()}: {problem}")


def load(module: str, extra: str) -> ModuleType:
    """Import a module that needs an extra. Raises CommandError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise CommandError(
            f"`oblix {extra}` needs the package {error.name}, which is an extra: "
            f'install it with `pip install "oblix[{extra}]"`, from a clone `pip install ".[{extra}]"`.'
        ) from error
