"""Stores that daemons of every schema left: each is opened, brought up, and read as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import fixtures

from oblixd.sessions.checking import problems
from oblixd.store import schema
from oblixd.store.inspection import DATA_FILE


def test_there_is_a_store_of_every_schema() -> None:
    assert [path.name for path in fixtures.files()] == [
        f"schema-{number}.mdb.gz" for number in range(schema.FIRST, schema.VERSION + 1)
    ]


@pytest.mark.parametrize("stored", fixtures.files(), ids=lambda path: path.name)
async def test_what_was_kept_is_there(stored: Path, tmp_path: Path) -> None:
    directory = tmp_path / "store"
    fixtures.unpack(stored, directory)
    for _ in range(2):
        async with fixtures.opened(directory) as sessions:
            assert fixtures.describe(sessions) == fixtures.told(stored)
        assert list(problems(directory / DATA_FILE)) == []
