"""Where a file of a tool stands, and what is common to the conversations of tools."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path

from oblix.formats.conversations import Conversation, fill_session_times, fill_times
from oblix.v1 import messages_pb2, sessions_pb2

MAX_BYTES = 256 * 1024 * 1024
"""Of a file that is read as a whole: a log of lines with all its tool results, a database's neighbour."""
_TITLE = 60
LOCAL_TIMES = "times without an offset taken as this machine's local time"
SUMMARY_NOTE = "summaries of compactions left out: what was said before them is there"
PROGRAM_NOTE = "texts of the program's own left out"


@dataclass(frozen=True, slots=True)
class Origin:
    """A file that a tool wrote."""

    path: Path

    def neighbour(self, name: str) -> bytes | None:
        """Return the content of a file beside it, or None where there is none, or none of a usual size."""
        path = self.path.parent / name
        try:
            if path.stat().st_size > MAX_BYTES:
                return None
            return path.read_bytes()
        except (OSError, ValueError):  # ValueError: a name out of a file that no file can have
            return None

    def text(self, name: str) -> str:
        """Return the text of a file beside it, empty where there is none."""
        return (self.neighbour(name) or b"").decode("utf-8", "replace").strip()

    @property
    def digest(self) -> str:
        """A short hash of the path, for tools that give their conversations no ids."""
        return hashlib.sha256(str(self.path.absolute()).encode()).hexdigest()[:16]


def conversation_of(
    tool: str, name: str, *, title: str = "", directory: str = "", version: str = ""
) -> Conversation:
    """Return an empty conversation of a tool. The working directory and the version become metadata."""
    session = sessions_pb2.Session(id=name, title=title, source_id=f"{tool}:{name}"[:512])
    session.metadata["tool"] = tool
    if directory:
        session.metadata["directory"] = directory
    if version:
        session.metadata["tool_version"] = version
    return Conversation(session)


def complete(conversation: Conversation) -> None:
    """Give a conversation what its tool did not: a title (its first question's beginning) and times."""
    session = conversation.session
    fill_session_times(conversation)
    fill_times(conversation)
    if not session.title:
        session.title = _first_question(conversation)


def _first_question(conversation: Conversation) -> str:
    for message in conversation.messages:
        words = " ".join("".join(part.text for part in message.parts).split())
        if message.role == messages_pb2.ROLE_USER and words:
            return words if len(words) <= _TITLE else words[: _TITLE - 1] + "…"
    return ""


def is_asked(conversation: Conversation) -> bool:
    """Return whether a person said something: some tools write files in which nobody did."""
    return any(message.role == messages_pb2.ROLE_USER for message in conversation.messages)


def local_zone() -> tzinfo:
    """Return this machine's time zone, for times without an offset."""
    zone = datetime.now().astimezone().tzinfo
    assert zone is not None  # noqa: S101 - astimezone always sets one
    return zone


def files_in(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a pattern in a folder, by name. Empty where the folder can't be read."""
    try:
        return sorted(folder.glob(pattern))
    except (OSError, ValueError):  # ValueError: a name out of a file that no file can have
        return []


def file_name(name: str) -> str:
    """Return a name out of a file, as one of a file in a folder: it leads nowhere else."""
    return name.replace("/", "_").replace("\\", "_").lstrip(".")
