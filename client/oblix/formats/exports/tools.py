"""Tools that go on with a session of Oblix: where they look for its file, and how they are told to."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from oblix.formats.exports import claude_code, codex, opencode
from oblix.formats.exports.handover import directory_of, uuid_of
from oblix.v1 import sessions_pb2


@dataclass(frozen=True, slots=True)
class Target:
    """A tool that goes on with a session."""

    variable: str
    """The environment variable that moves the tool's directory."""
    default: str
    """Its directory below the home directory. Empty: it has no place of its own for this."""
    file_name: Callable[[sessions_pb2.Session], str]
    """The file below that directory."""
    command: Callable[[sessions_pb2.Session, Path], str]
    """What to type then."""

    def path(self, session: sessions_pb2.Session, home: Path, environment: Mapping[str, str]) -> Path:
        """Return where the file goes."""
        if not self.default:
            return Path(tempfile.gettempdir()) / self.file_name(session)
        moved = environment.get(self.variable, "")
        return (Path(moved) if moved else home / self.default) / self.file_name(session)


def _resume_codex(session: sessions_pb2.Session, _path: Path) -> str:
    return f"codex resume {uuid_of(session)}"


def _resume_claude(session: sessions_pb2.Session, _path: Path) -> str:
    return f"cd {shlex.quote(directory_of(session))} && claude --resume {uuid_of(session)}"


def _import_opencode(session: sessions_pb2.Session, path: Path) -> str:
    return f"opencode import {shlex.quote(str(path))} && opencode -s {opencode.session_id(session)}"


TARGETS = {
    "codex": Target("CODEX_HOME", ".codex", codex.file_name, _resume_codex),
    "claude-code": Target("CLAUDE_CONFIG_DIR", ".claude", claude_code.file_name, _resume_claude),
    "opencode": Target(
        "", "", lambda session: f"oblix-{opencode.session_id(session)}.json", _import_opencode
    ),
}
