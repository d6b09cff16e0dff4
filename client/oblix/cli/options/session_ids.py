"""Sessions as a person names them: a beginning of the id, `@1` for the newest, `--last`, or the title."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from oblix.cli.errors import CommandError

if TYPE_CHECKING:
    from oblix.cli.session_list import Listed

HELP = "a session: its id, the beginning of it, its title, or @1 for the newest, @2 for the one before"
LAST = "@1"
NEWEST = 2_000
"""So many sessions are looked through for a beginning or a title, the one that changed last first."""
SHORTEST, MOST_SHOWN = 8, 5
SHOWN_CHARACTERS = 13
"""So much a list shows of an id. They hold the millisecond in which a session was made: in fewer
characters sessions that a list leaves out would begin alike."""
_WHOLE = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PLACE = r"@([1-9]\d{0,5})"
_POSSIBLE = r"[A-Za-z0-9._-]{1,128}"


class SessionName(str):
    """A session as it was typed. `resolve` puts the id in its place."""

    __slots__ = ()
    is_deleted = False


class DeletedSessionName(SessionName):
    """One that was deleted, and can be brought back."""

    __slots__ = ()
    is_deleted = True


def add_id(parser: argparse.ArgumentParser) -> None:
    """Declare the one session that a command is about."""
    parser.add_argument("id", metavar="ID", type=SessionName, help=HELP)


def resolve(arguments: argparse.Namespace) -> None:
    """Put ids in the place of what was typed. Raises CommandError where several fit."""
    named = {name: value for name, value in vars(arguments).items() if _is_named(value)}
    for name, value in named.items():
        ids = [resolve_id(each) for each in value] if isinstance(value, list) else resolve_id(value)
        setattr(arguments, name, ids)


def resolve_id(name: str) -> str:
    """Return the id of the one session that is meant; what was given where none is known by it.

    Raises CommandError where several fit, and for a place that nobody has.
    """
    if re.fullmatch(_WHOLE, name):
        return str(name)
    from oblix.cli import session_list

    is_deleted = isinstance(name, SessionName) and name.is_deleted
    if place := re.fullmatch(_PLACE, name):
        return _at(int(place[1]), is_deleted=is_deleted)
    if re.fullmatch(_POSSIBLE, name) and not is_deleted and session_list.exists(name):
        return str(name)
    found = _matches(session_list.fetch(NEWEST, archived=None, deleted=is_deleted), name)
    if len(found) > 1:
        raise _ambiguous(name, found)
    return found[0].id if found else str(name)


def _is_named(value: object) -> bool:
    return isinstance(value, SessionName) or (
        isinstance(value, list) and any(isinstance(each, SessionName) for each in value)
    )


def _at(number: int, *, is_deleted: bool) -> str:
    from oblix.cli import session_list

    sessions = session_list.fetch(number, archived=None, deleted=is_deleted)
    if not sessions:
        raise CommandError("there is no session yet: `oblix ask` or `oblix chat` begins one.")
    if len(sessions) < number:
        raise CommandError(f"there is no session @{number}: the oldest is @{len(sessions)}.")
    return sessions[-1].id


def _matches(sessions: list[Listed], name: str) -> list[Listed]:
    """Return those whose id begins so; else those of that title; else those with it in the title."""
    wanted = name.casefold()
    by_id = [session for session in sessions if session.id.startswith(name)]
    by_title = [session for session in sessions if session.title.casefold() == wanted]
    return by_id or by_title or [session for session in sessions if wanted in session.title.casefold()]


def _ambiguous(name: str, matches: list[Listed]) -> CommandError:
    shown = ", ".join(f"{each.id} ({each.title or 'no title'})" for each in matches[:MOST_SHOWN])
    more = f" and {len(matches) - MOST_SHOWN} more" if len(matches) > MOST_SHOWN else ""
    return CommandError(f"{len(matches)} sessions are meant by {name}: {shown}{more}.")
