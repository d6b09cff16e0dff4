"""Stores that daemons of every schema left: each is opened, brought up, and read as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from oblix.v1 import messages_pb2
from support import fixtures
from support.conversations import texts

from oblixd.sessions.checking import problems
from oblixd.store import schema
from oblixd.store.inspection import DATA_FILE
from oblixd.usage import checking as usage


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
        assert list(usage.problems(directory / DATA_FILE)) == []


@pytest.mark.parametrize("stored", fixtures.files(), ids=lambda path: path.name)
async def test_the_requests_of_every_schema_are_found(stored: Path, tmp_path: Path) -> None:
    fixtures.unpack(stored, tmp_path / "store")
    async with fixtures.opened(tmp_path / "store") as sessions:
        found = [sessions.recorded(request_id) for request_id in ("a-request", "another-request")]
        assert [turn and (texts(turn.question), turn.status) for turn in found] == [
            (["Why?"], messages_pb2.MESSAGE_STATUS_COMPLETE),
            (["And now?"], messages_pb2.MESSAGE_STATUS_INTERRUPTED),
        ]
        assert [turn and turn.answer and texts([turn.answer]) for turn in found] == [
            ["Because."],
            ["The part that came"],
        ]
