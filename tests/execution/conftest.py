"""What the execution tests start with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from oblix.testing import OllamaServer
from support.drivers.execution import Harness, harness_in


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with OllamaServer(["llama2"]) as server:
        yield server


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    async with harness_in(tmp_path) as harness:
        yield harness
