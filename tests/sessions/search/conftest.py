"""What the tests of the search start with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.drivers.searching import Library, library_in


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    """Sessions in a new store, and the search over them."""
    async with library_in(tmp_path) as library:
        yield library
