"""What the tests of sessions start with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.drivers.conversations import sessions_in

from oblixd.sessions import Sessions


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[Sessions]:
    """Sessions in a new store."""
    async with sessions_in(tmp_path / "store") as sessions:
        yield sessions
