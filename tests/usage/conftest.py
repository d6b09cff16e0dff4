"""What the tests of usage start with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.drivers.conversations import store_in

from oblixd.store import Store
from oblixd.usage import TABLE_NAMES


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store with the tables of usage."""
    async with store_in(tmp_path / "store", TABLE_NAMES) as store:
        yield store
