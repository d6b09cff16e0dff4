"""What the execution tests start with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from oblix.testing import OllamaServer
from support.house import House, house_in


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with OllamaServer(["llama2"]) as server:
        yield server


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path) as house:
        yield house
