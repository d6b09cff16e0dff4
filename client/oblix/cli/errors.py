"""The errors that commands raise themselves."""

from __future__ import annotations


class CommandError(Exception):
    """A command can't do what it was asked. The message says why and what to do next, in one line."""


def unknown_session(session_id: str) -> CommandError:
    """The error for an id that no session has."""
    return CommandError(f"there is no session {session_id}. `oblix sessions list` shows which there are.")
