"""The errors that commands raise themselves, and how a shell tells those of the daemon and the client."""

from __future__ import annotations

import re

from oblix.errors import OblixError

OPTIONS = {
    "endpoint": "--endpoint",
    "first_day": "--since",
    "last_day": "--until",
    "max_cost": "--max-cost",
    "max_tokens": "--max-tokens",
    "model": "--model",
    "offset": "--offset",
    "policy": "--policy",
    "session_id": "a session's id",
    "temperature": "--temperature",
    "timeout": "--timeout",
}
"""What the fields of a request are called at the command line."""
_TYPE = r"^(?:str|int|float) (?=\S)"
"""What the client puts before a value that is wrong: a program asks for it, a person does not."""


class CommandError(Exception):
    """A command can't do what it was asked. The message says why and what to do next, in one line."""


def unknown_session(session_id: str) -> CommandError:
    """Return the error for an id that no session has."""
    return CommandError(f"there is no session {session_id}. `oblix sessions list` shows which there are.")


def error_text(error: OblixError) -> str:
    """Put an error in the words of the command line: its options, and what is kept of an answer."""
    field = error.metadata.get("field", "")
    if field in OPTIONS and error.message.startswith(f"{field} "):
        return OPTIONS[field] + _without_type(error).removeprefix(field)
    if error.reason == "INVALID_DAYS":
        return error.message.replace("first_day", OPTIONS["first_day"]).replace(
            "last_day", OPTIONS["last_day"]
        )
    if error.reason == "EXECUTION_INTERRUPTED" and "kept_bytes" in error.metadata:
        return _interruption(error)
    if part := _part(error):
        session_id = error.metadata["session_id"]
        message = error.message.removesuffix(f" Your message is kept in session {session_id}.")
        return message if message == error.message else f"{message} Your question and {part}."
    return error.message


def _without_type(error: OblixError) -> str:
    """Return the message with the value that was given, and without the type of it."""
    given = error.metadata.get("given", "")
    bare = re.sub(_TYPE, "", given, count=1)
    return error.message if bare == given else error.message.replace(f"given: {given}", f"given: {bare}")


def _interruption(error: OblixError) -> str:
    session_id = error.metadata.get("session_id", "")
    nothing = f"your question is kept in session {session_id}" if session_id else "nothing is kept"
    again = f" --session {session_id}" if session_id else ""
    return (
        f"oblixd ended before the answer did: {_part(error) or nothing}. This request's id is used up; "
        f"`oblix ask{again} ...` asks again, with a new one."
    )


def _part(error: OblixError) -> str:
    """Say how much of the answer is kept, and where; empty if nothing is, or nobody knows."""
    size, session_id = error.metadata.get("kept_bytes", "0"), error.metadata.get("session_id", "")
    if not session_id or size == "0":
        return ""
    return f"{int(size):,} bytes of the answer are kept in session {session_id}"
