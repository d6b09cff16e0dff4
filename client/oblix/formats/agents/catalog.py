"""The tools by name: whose a file is, and how it is read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from oblix.formats.agents.databases import (
    crush,
    goose,
    hermes,
    langgraph,
    llm,
    openai_agents,
    opencode,
    tables,
)
from oblix.formats.agents.logs import (
    aider,
    claude_code,
    cline,
    codex,
    continue_dev,
    gemini,
    gptme,
    jan,
    opencode_files,
    pi,
    qwen,
    vibe,
    vscode,
)
from oblix.formats.agents.origin import Origin
from oblix.formats.catalog import finish
from oblix.formats.conversations import Conversation, unreadable

NOT_JSON = "lines that are not JSON left out"
HEAD_LINES = 20
"""By so many values at its beginning a log is known."""


@dataclass(frozen=True, slots=True)
class LogTool:
    """A tool that writes a log of lines for each conversation."""

    name: str
    matches: Callable[[Sequence[Any]], bool]
    load: Callable[[Sequence[Any], Origin], list[Conversation]]
    known: frozenset[str]

    def read(self, lines: Sequence[Any], path: Path) -> Iterator[Conversation]:
        """Read a log as conversations whose words are accounted for."""
        for conversation in self.load(lines, Origin(path)):
            yield finish(conversation, self.known)


_LOGS: dict[str, ModuleType] = {
    "codex": codex,
    "claude-code": claude_code,
    "gemini-cli": gemini,
    "qwen-code": qwen,
    "pi": pi,
    "mistral-vibe": vibe,
    "gptme": gptme,
    "jan": jan,
    "continue": continue_dev,
    "cline": cline,
    "vscode": vscode,
}
_DATABASES: dict[str, ModuleType] = {
    "opencode": opencode,
    "hermes": hermes,
    "goose": goose,
    "crush": crush,
    "openai-agents": openai_agents,
    "langgraph": langgraph,
    "llm": llm,
}
LOGS = [LogTool(name, module.matches, module.read, module.KNOWN) for name, module in _LOGS.items()]
LOGS.append(LogTool("goose", goose.matches, goose.read_log, goose.KNOWN))
LOGS.append(LogTool("opencode", opencode_files.matches, opencode_files.read, opencode_files.KNOWN))
NAMES = (*_LOGS, *_DATABASES, "aider")


def log_tool(first: Sequence[Any]) -> LogTool | None:
    """Return the tool that wrote a log with these first values, None where it is none that is known."""
    return next((tool for tool in LOGS if tool.matches(first)), None)


def read_text(text: str, path: Path) -> Iterator[Conversation]:
    """Read aider's history. What it says is told apart by guesses, so no account is taken."""
    for conversation in aider.read(text, Origin(path)):
        yield finish(conversation)


def read_database(path: Path) -> Iterator[Conversation]:
    """Read every conversation of a tool's database.

    Raises InvalidArgumentError where it is no tool's that is known, damaged, or its log is missing.
    """
    with tables.open_copy(path) as connection:
        module = _of_tables(path, tables.tables_of(connection))
        for conversation in module.read(connection, Origin(path)):
            yield finish(conversation, module.KNOWN)


def count_in_database(path: Path) -> int:
    """Return how many conversations a tool's database has. Raises InvalidArgumentError as `read_database`."""
    with tables.open_copy(path) as connection:
        module = _of_tables(path, tables.tables_of(connection))
        return sum(_count(connection, query) for query in module.COUNTS)


def _count(connection: sqlite3.Connection, query: str) -> int:
    try:
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def _of_tables(path: Path, tables: Mapping[str, frozenset[str]]) -> ModuleType:
    for module in _DATABASES.values():
        if module.matches(tables):
            return module
    named = ", ".join(sorted(tables)[:10])
    known = ", ".join(_DATABASES)
    problem = f"its tables ({named}) are of no program that is known; known are {known}"
    raise unreadable(str(path), problem, reason="UNKNOWN_FORMAT")


def is_history(head: str) -> bool:
    """Return whether a text begins as aider's history does."""
    return aider.matches(head)
