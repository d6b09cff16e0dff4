"""Damage on disk: found and named, never served; what is whole goes on being served."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.struct_pb2 import Struct
from oblix.v1.sessions_pb2 import DamagedSession, Session
from support.drivers.conversations import all_messages, say, sessions_in, struct, texts

from oblixd.errors import DataLossError
from oblixd.sessions import Sessions
from oblixd.store import Table, Transaction
from oblixd.store.inspection import DATA_FILE


@pytest.fixture
async def damaged_store(tmp_path: Path) -> Path:
    """A closed store of two sessions; one byte is flipped in a message of the session `hurt`."""
    async with sessions_in(tmp_path) as sessions:
        for title in ("hurt", "well"):
            made = await sessions.create(Session(title=title))
            await sessions.append(made.id, [say(f"{title} {n}") for n in range(3)])
    _flip(tmp_path / DATA_FILE, b"hurt 1")
    return tmp_path


def _flip(path: Path, where: bytes) -> None:
    content = bytearray(path.read_bytes())
    assert content.count(where) > 0
    path.write_bytes(content.replace(where, where[:-1] + bytes([where[-1] ^ 1])))


def _id_of(sessions: Sessions, title: str) -> str:
    found, _ = sessions.list(page_size=0, page_token="", filter=Struct())
    return next(session.id for session in found if session.title == title)


async def test_a_damaged_message_is_named_and_the_others_are_served(damaged_store: Path) -> None:
    async with sessions_in(damaged_store) as sessions:
        hurt = _id_of(sessions, "hurt")
        with pytest.raises(DataLossError, match=f"^Message 2 of session {hurt} is .*backup") as caught:
            all_messages(sessions, hurt)
        assert caught.value.reason == "RECORD_DAMAGED"
        assert caught.value.metadata["session_id"] == hurt
        history = sessions.history(hurt, 4)
        assert texts([next(history)]) == ["hurt 2"]
        with pytest.raises(DataLossError):
            next(history)
        assert texts(all_messages(sessions, _id_of(sessions, "well"))) == ["well 0", "well 1", "well 2"]


async def test_damage_is_not_copied_merged_or_exported(damaged_store: Path) -> None:
    async with sessions_in(damaged_store) as sessions:
        hurt, well = _id_of(sessions, "hurt"), _id_of(sessions, "well")
        for call in (sessions.copy(hurt, None), sessions.merge([well, hurt], None)):
            with pytest.raises(DataLossError, match=f"^Message 2 of session {hurt}"):
                await call
        with pytest.raises(DataLossError, match=f"^Message 2 of session {hurt}"):
            _ = [item async for item in sessions.export([well, hurt])]
        assert sessions.count() == 2


async def test_a_damaged_session_takes_messages_and_can_be_deleted(damaged_store: Path) -> None:
    async with sessions_in(damaged_store) as sessions:
        hurt = _id_of(sessions, "hurt")
        (recorded,) = await sessions.append(hurt, [say("more")])
        assert sessions.messages(hurt, page_size=1, page_token="", newest_first=True)[0] == [recorded]
        await sessions.delete(hurt)
        assert sessions.count() == 1


async def test_a_damaged_header_is_named_until_its_session_is_deleted(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        made = await sessions.create(Session(title="the header", metadata=struct(kind="a")))
    _flip(tmp_path / DATA_FILE, b"the header")
    async with sessions_in(tmp_path) as sessions:
        with pytest.raises(
            DataLossError, match=f"^Session {made.id} is .*in sessions, its checksum does not hold"
        ):
            sessions.get(made.id)
        with pytest.raises(DataLossError, match=f"^Session {made.id} is .*delete the session"):
            sessions.list(page_size=0, page_token="", filter=struct(kind="a"))
        await sessions.delete(made.id)
        assert sessions.list(page_size=0, page_token="", filter=Struct()) == ([], "")


async def test_one_damaged_turn_keeps_nobody_else_from_being_recovered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sessions_in(tmp_path) as sessions:
        ids = []
        for title in ("the hurt header", "well"):
            made = await sessions.create(Session(title=title))
            await sessions.begin_turn(made.id, f"request of {title}", [say("question")])
            ids.append(made.id)
    _flip(tmp_path / DATA_FILE, b"the hurt header")
    async with sessions_in(tmp_path) as sessions:
        assert sessions.get(ids[1]).running_request_id == ""
    assert "can't be ended" in caplog.text


async def test_a_damaged_session_keeps_no_other_from_being_listed(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        hurt = (await sessions.create(Session(title="the header", metadata=struct(kind="a")))).id
        well = [
            (await sessions.create(Session(title="well", metadata=struct(kind="a")))).id for _ in range(3)
        ]
    _flip(tmp_path / DATA_FILE, b"the header")
    async with sessions_in(tmp_path) as sessions:
        for wanted in (struct(), struct(kind="a")):
            damaged: list[DamagedSession] = []
            found, _ = sessions.list(page_size=0, page_token="", filter=wanted, damaged=damaged)
            assert {session.id for session in found} == set(well)
            (told,) = damaged
            assert (told.session_id, told.reason) == (hurt, "RECORD_DAMAGED")
            assert "delete the session" in told.detail
        changes = sessions.watch(struct(), None)
        assert {(await anext(changes)).session.session.id for _ in well} == set(well)


@pytest.mark.parametrize("harm", ["value", "key"])
async def test_a_damaged_entry_of_the_index_keeps_no_other_from_being_listed(
    tmp_path: Path, harm: str
) -> None:
    async with sessions_in(tmp_path) as sessions:
        ids = [(await sessions.create(Session(title=f"{n}"))).id for n in range(4)]
        recency, store = sessions.db.tables.recency, sessions.db.store
        with store.read() as txn:
            key = next(key for key in recency.keys(txn, b"") if ids[2].encode() in key)
        name = key.replace(ids[2].encode(), ids[2][:-1].encode() + b"?") if harm == "key" else key
        await store.write(lambda txn: recency.delete(txn, key) and _put_unsealed(recency, txn, name))
        damaged: list[DamagedSession] = []
        found, _ = sessions.list(page_size=0, page_token="", filter=Struct(), damaged=damaged)
        listed = {session.id for session in found}
        # What the key still says is enough; otherwise somebody is told that one is missing.
        assert (listed == set(ids)) if harm == "value" else (listed == set(ids) - {ids[2]})
        assert ["oblixd salvage" in told.detail for told in damaged] == ([] if harm == "value" else [True])


def _put_unsealed(table: Table, txn: Transaction, key: bytes) -> None:
    txn.put(key, b"\0\0\0\0not what was written", db=table._database)
