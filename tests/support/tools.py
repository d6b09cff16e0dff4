"""The files of other programs' sessions, as those programs lay them out in a home directory.

The samples were written by the programs themselves; what was said in them is invented.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

from oblix.formats.conversations import Conversation
from oblix.formats.reading import read_file
from oblix.v1 import messages_pb2

SAMPLES = Path(__file__).parents[1] / "formats" / "samples"
_CODEX = ".codex/sessions/2026/11/28/rollout-2026-11-28T16-"
FILES = {
    "codex-exec.rollout.jsonl": f"{_CODEX}22-31-01a222f7-2298-74e0-899e-ac627f3d268f.jsonl",
    "codex-forked-from.rollout.jsonl": f"{_CODEX}23-11-01a222f7-bf5f-74e0-aafb-b0fc160db0f4.jsonl",
    "codex-fork.rollout.jsonl": f"{_CODEX}23-13-01a222f7-c7e1-7be0-be10-0c19ff7c0195.jsonl",
    "gemini-tool-and-resume.jsonl": ".gemini/tmp/garden/chats/session-2026-11-28T16-44-c8b0a4f6.jsonl",
    "qwen-continued.jsonl": ".qwen/projects/-garden/chats/729179b6-bb04-45b1-9034-9a674cfe661f.jsonl",
    "pi-tree.jsonl": ".pi/agent/sessions/--garden--/2026-11-28_01a22300-4991-74d3-9819-9a1816a36f2a.jsonl",
    "gptme-undone-branch.jsonl": ".local/share/gptme/logs/2026-11-28-notes/conversation.jsonl",
    "aider.md": "garden/.aider.chat.history.md",
}
DATABASES = {
    "opencode.sql": ".local/share/opencode/opencode.db",
    "llm-logs.sql": ".config/io.datasette.llm/logs.db",
    "hermes-compressed.sql": ".hermes/state.db",
}


def read(path: Path) -> list[Conversation]:
    """All that a file holds; nothing of it may be refused, and it can grow."""
    found = list(read_file(path, None))
    assert [each.problem for each in found] == [None] * len(found)
    assert all(each.is_unique for each in found)
    return [each.conversation for each in found if each.conversation is not None]


def short_form(conversation: Conversation, *, has_results: bool = True) -> list[str]:
    """Who says what: the role's first letter, and each part; what tools gave only with `has_results`."""
    return [
        f"{messages_pb2.Role.Name(message.role)[5].lower()}: "
        + " ".join(_short_part(part, has_results=has_results) for part in message.parts)
        for message in conversation.messages
    ]


def _short_part(part: messages_pb2.Part, *, has_results: bool) -> str:
    match part.WhichOneof("kind"):
        case "reasoning":
            return f"({part.reasoning})".replace("\n", " ")
        case "tool_call":
            return f"{part.tool_call.name}[{part.tool_call.call_id}]"
        case "tool_result":
            content = f"={part.tool_result.content.strip()}" if has_results else ""
            return f"[{part.tool_result.call_id}]{content}"
        case "image":
            return f"<{part.image.media_type}>"
        case _:
            return part.text


def home_of_tools(home: Path) -> Path:
    """Lay out what every tool left, below a directory."""
    for name, place in FILES.items():
        target = home / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SAMPLES / name, target)
    for name, place in DATABASES.items():
        database(home / place, (SAMPLES / name).read_text())
    vibe = home / ".vibe/logs/session/unified/eb7973c5"
    for name, content in json.loads((SAMPLES / "vibe-session-files.json").read_text()).items():
        (vibe / name).parent.mkdir(parents=True, exist_ok=True)
        (vibe / name).write_text(json.dumps(content))
    return home


def database(path: Path, script: str) -> Path:
    """A SQLite file that a script makes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
    return path
