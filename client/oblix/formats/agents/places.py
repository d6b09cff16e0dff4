"""Where tools keep their conversations on a machine, and which of these places there are."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from oblix.errors import InvalidArgumentError
from oblix.formats.agents import catalog
from oblix.formats.agents.databases import tables
from oblix.formats.agents.logs import aider, cline

EDITORS = ("Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf")
"""Visual Studio Code and those made from it, as their folders of settings are called."""
MOST_FILES = 200_000
"""Of one tool. What is beyond is not looked at."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place of a tool: files of a pattern below a directory."""

    tool: str
    variable: str
    """The environment variable that moves the directory. Empty: none does."""
    below_variable: str
    """The directory, below what the variable says."""
    default: str
    """The directory below the home directory, where the variable is not set."""
    patterns: tuple[str, ...]
    older_than: str = ""
    """A file below the directory. Where it is there, the tool took over these files into it."""
    is_by_time: bool = False
    """Whether the names do not tell which file is older."""


PLACES = (
    Place("codex", "CODEX_HOME", "", ".codex",
          ("sessions/**/rollout-*.jsonl", "archived_sessions/rollout-*.jsonl")),
    Place("claude-code", "CLAUDE_CONFIG_DIR", "", ".claude", ("projects/*/*.jsonl",), is_by_time=True),
    Place("opencode", "XDG_DATA_HOME", "opencode", ".local/share/opencode", ("opencode*.db",)),
    Place("opencode", "XDG_DATA_HOME", "opencode", ".local/share/opencode",
          ("storage/session/*/ses_*.json",), older_than="opencode.db"),
    Place("gemini-cli", "GEMINI_CLI_HOME", ".gemini", ".gemini",
          ("tmp/*/chats/session-*.jsonl", "tmp/*/chats/session-*.json")),
    Place("qwen-code", "", "", ".qwen", ("projects/*/chats/*.jsonl",)),
    Place("pi", "PI_CODING_AGENT_DIR", "", ".pi/agent", ("sessions/*/*.jsonl",)),
    Place("mistral-vibe", "VIBE_HOME", "", ".vibe",
          ("logs/session/unified/*/CURRENT", "logs/session/session_*.json")),
    Place("gptme", "XDG_DATA_HOME", "gptme", ".local/share/gptme", ("logs/*/conversation.jsonl",)),
    Place("llm", "LLM_USER_PATH", "", ".config/io.datasette.llm", ("logs.db",)),
    Place("hermes", "HERMES_HOME", "", ".hermes", ("state.db",)),
    Place("lmstudio", "", "", ".lmstudio", ("conversations/**/*.conversation.json",)),
    Place("lmstudio", "", "", ".cache/lm-studio", ("conversations/**/*.conversation.json",)),
    Place("jan", "XDG_DATA_HOME", "Jan/data", ".local/share/Jan/data", ("threads/*/messages.jsonl",)),
    Place("jan", "", "", "jan", ("threads/*/messages.jsonl",)),
    Place("continue", "CONTINUE_GLOBAL_DIR", "", ".continue", ("sessions/*-*.json",)),
    Place("cline", "CLINE_DIR", "", ".cline", ("data/sessions/*/*.messages.json",
          "data/tasks/*/api_conversation_history.json")),
    *(Place("cline", "XDG_CONFIG_HOME", f"{editor}/User", f".config/{editor}/User",
            tuple(f"globalStorage/{each}/tasks/*/api_conversation_history.json" for each in cline.EXTENSIONS))
      for editor in EDITORS),
    *(Place("vscode", "XDG_CONFIG_HOME", f"{editor}/User", f".config/{editor}/User",
            ("workspaceStorage/*/chatSessions/*.json*", "globalStorage/emptyWindowChatSessions/*.json*"))
      for editor in EDITORS),
    Place("goose", "XDG_DATA_HOME", "goose", ".local/share/goose",
          ("sessions/sessions.db", "sessions/*.jsonl")),
    Place("crush", "", "", "", (".crush/crush.db", "*/.crush/crush.db", "*/*/.crush/crush.db",
                                "*/*/*/.crush/crush.db")),
    Place("aider", "", "", "", (aider.NAME, f"*/{aider.NAME}", f"*/*/{aider.NAME}", f"*/*/*/{aider.NAME}")),
)  # fmt: skip


@dataclass(slots=True)
class Findings:
    """What was found of one tool."""

    tool: str
    files: list[Path] = field(default_factory=list)
    conversations: int = 0
    """How many there are. Of files of lines each counts as one, also one in which nobody said anything."""
    problems: list[str] = field(default_factory=list)
    """Files that can't be looked into, and why."""


def search(home: Path, environment: Mapping[str, str] = os.environ) -> list[Findings]:
    """Look for the conversations of every tool that is known, those of the most first."""
    found: dict[str, Findings] = {}
    for place in PLACES:
        for path in files_of(place, home, environment):
            of_tool = found.setdefault(place.tool, Findings(place.tool))
            if path not in of_tool.files:
                of_tool.files.append(path)
                _count(of_tool, path)
    return sorted(found.values(), key=lambda each: -each.conversations)


def every_file(home: Path, tools: Collection[str], environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the files of the named tools, of all where none is named. Nothing is opened."""
    wanted = (place for place in PLACES if not tools or place.tool in tools)
    return list(dict.fromkeys(path for place in wanted for path in files_of(place, home, environment)))


def files_of(place: Place, home: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files of a place, by name or by time: a fork's comes after its parent's."""
    directory = home / place.default
    if moved := environment.get(place.variable, "") if place.variable else "":
        directory = Path(moved) / place.below_variable
    if place.older_than and (directory / place.older_than).exists():
        return
    for pattern in place.patterns:
        try:
            found = sorted(path for path in islice(directory.glob(pattern), MOST_FILES) if path.is_file())
            yield from sorted(found, key=lambda path: path.stat().st_mtime_ns) if place.is_by_time else found
        except OSError:
            continue


def _count(findings: Findings, path: Path) -> None:
    try:
        if tables.is_database(path):
            findings.conversations += catalog.count_in_database(path)
        elif path.name == aider.NAME:
            findings.conversations += path.read_text("utf-8", "replace").count("\n# aider chat started at ")
        else:
            findings.conversations += 1
    except (InvalidArgumentError, OSError) as error:
        findings.problems.append(getattr(error, "message", str(error)))
