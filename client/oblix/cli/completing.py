"""What Tab completes in a shell: commands and options of the parser, and names that the daemon knows."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from oblix.cli.options.session_ids import SHORTEST, SessionName
from oblix.cli.table import parser_with

MOST_SESSIONS = 200


def complete() -> None:
    """Answer the shell's question, and end the process. Only the command that is typed is loaded."""
    import argcomplete

    parser = parser_with(_command_in(os.environ.get("COMP_LINE", "")))
    for action in _actions(parser):
        if completer := _completer(action):
            action.completer = completer
    argcomplete.autocomplete(parser)


def _command_in(line: str) -> str:
    try:
        words = shlex.split(line)
    except ValueError:  # within quotes
        words = line.split()
    # `oblix help ask` completes as `oblix ask` does.
    return next((word for word in words[1:] if not word.startswith("-") and word != "help"), "")


def _actions(parser: argparse.ArgumentParser) -> Iterator[Any]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                yield from _actions(each)


def _completer(action: argparse.Action) -> Callable[..., Any] | None:
    if isinstance(action.type, type) and issubclass(action.type, SessionName):
        return _sessions
    return _BY_NAME.get(action.dest)


def _sessions(prefix: str, **_: Any) -> dict[str, str]:
    """Sessions by the beginning of an id or of a title; the shell shows the titles."""
    found = {}
    for session in _fetch(lambda client: client.list_sessions(limit=MOST_SESSIONS, archived=None)):
        if session["title"].startswith(prefix) and prefix:
            found[session["title"]] = ""
        elif session["id"].startswith(prefix):
            found[session["id"]] = session["title"]
    return found or {f"@{place}": "" for place in range(1, SHORTEST) if f"@{place}".startswith(prefix)}


def _models(**_: Any) -> list[str]:
    from oblix.cli import preferences

    listed = _fetch(lambda client: [client.list_models()])
    names = [f"{provider}:{name}" for models in listed for provider, each in models.items() for name in each]
    return [*names, *preferences.load().aliases]


def _templates(**_: Any) -> list[str]:
    from oblix.cli import preferences

    return list(preferences.load().templates)


def _libraries(**_: Any) -> list[str]:
    from oblix.documents import libraries

    return libraries()


def _fetch(ask: Callable[[Any], list[Any]]) -> list[Any]:
    """Ask the daemon that runs: a press of Tab starts none, and shows no error."""
    from oblix import OblixClient, OblixError
    from oblix.cli import daemon

    try:
        return ask(OblixClient()) if daemon.is_running() else []
    except OblixError:
        return []


_BY_NAME: dict[str, Callable[..., Any]] = {"model": _models, "template": _templates, "docs": _libraries}
