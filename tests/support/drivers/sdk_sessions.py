"""A pytest plugin that puts `OblixSession` in the place of the OpenAI Agents SDK's own SQLite session.

    pytest -p support.drivers.sdk_sessions tests/memory/test_session.py

Loaded before the SDK's tests, which then run against Oblix as they are.
"""

from __future__ import annotations

import uuid
from hashlib import sha256
from pathlib import Path
from typing import Any

import agents
import agents.memory
from oblix.adapters.openai_agents import OblixSession


class SQLiteSession(OblixSession):
    """An `OblixSession` with the arguments of the SDK's own. Each file is a place of its own."""

    def __init__(
        self,
        session_id: str,
        db_path: str | Path = ":memory:",
        *_: str,
        session_settings: Any = None,
    ) -> None:
        """Name a session in a file, or in a memory that no other one shares."""
        place = uuid.uuid4().hex if str(db_path) == ":memory:" else str(db_path)
        name = f"{sha256(place.encode()).hexdigest()[:16]}-{session_id}"
        super().__init__(name, session_settings=session_settings)

    def close(self) -> None:
        """Leave the client to the end of the process."""


agents.SQLiteSession = SQLiteSession  # type: ignore[misc]
agents.memory.SQLiteSession = SQLiteSession  # type: ignore[misc]
