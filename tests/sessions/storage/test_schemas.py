"""Stores that daemons of every schema left: each is opened, brought up, and read as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from oblix.v1 import messages_pb2
from support.data import old_stores
from support.drivers.conversations import texts

from oblixd.sessions.fsck import problems
from oblixd.store import schema
from oblixd.store.inspection import DATA_FILE
from oblixd.usage import tables as usage


def test_there_is_a_store_of_every_schema() -> None:
    assert [path.name for path in old_stores.files()] == [
        f"schema-{number}.mdb.gz" for number in range(schema.FIRST, schema.VERSION + 1)
    ]


@pytest.mark.parametrize("stored", old_stores.files(), ids=lambda path: path.name)
async def test_records_of_each_schema_are_there(stored: Path, tmp_path: Path) -> None:
    directory = tmp_path / "store"
    old_stores.unpack(stored, directory)
    for _ in range(2):
        async with old_stores.open_sessions(directory) as sessions:
            assert old_stores.describe(sessions) == old_stores.describe_stored(stored)
        assert list(problems(directory / DATA_FILE)) == []
        assert list(usage.problems(directory / DATA_FILE)) == []


@pytest.mark.parametrize("stored", old_stores.files(), ids=lambda path: path.name)
async def test_the_requests_of_every_schema_are_found(stored: Path, tmp_path: Path) -> None:
    old_stores.unpack(stored, tmp_path / "store")
    async with old_stores.open_sessions(tmp_path / "store") as sessions:
        found = [sessions.recorded_turn(request_id) for request_id in ("a-request", "another-request")]
        assert [turn and (texts(turn.question), turn.status) for turn in found] == [
            (["Why?"], messages_pb2.MESSAGE_STATUS_COMPLETE),
            (["And now?"], messages_pb2.MESSAGE_STATUS_INTERRUPTED),
        ]
        assert [turn and turn.answer and texts([turn.answer]) for turn in found] == [
            ["Because."],
            ["The part that came"],
        ]
