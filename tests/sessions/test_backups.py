"""A backup that is made while everybody writes, put in the place of another store."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import all_messages, all_sessions, say, sessions_in, texts
from support.drivers.waiting import eventually

from oblixd.sessions import Sessions
from oblixd.sessions.fsck import problems
from oblixd.sessions.storage.changes import STORE_ID, forget_store_id
from oblixd.store import offline
from oblixd.store.inspection import DATA_FILE
from oblixd.store.restore import put_in_place, verify

NAMES = ("a", "b", "c", "d")


class Talk:
    """One session to which numbers are appended until it is told to end."""

    def __init__(self, sessions: Sessions, title: str) -> None:
        self._sessions, self._title = sessions, title
        self.acknowledged = 0
        self.goes_on = True

    async def run(self) -> None:
        session = await self._sessions.create(Session(title=self._title))
        for number in count():
            if not self.goes_on:
                return
            await self._sessions.append(session.id, [say(f"{number}")])
            self.acknowledged = number + 1


async def _backup(sessions: Sessions, path: Path) -> None:
    pieces = [piece.data async for piece in sessions.backup()]
    await asyncio.to_thread(path.write_bytes, b"".join(pieces))


async def test_a_backup_under_writing_holds_all_that_was_acknowledged_before_it(tmp_path: Path) -> None:
    backup, before, after = tmp_path / "backup", {}, {}
    async with sessions_in(tmp_path / "store") as sessions:
        talks = {name: Talk(sessions, name) for name in NAMES}
        running = [asyncio.create_task(talk.run()) for talk in talks.values()]
        await eventually(lambda: min(talk.acknowledged for talk in talks.values()) >= 50)
        before = {name: talk.acknowledged for name, talk in talks.items()}
        await _backup(sessions, backup)
        for talk in talks.values():
            talk.goes_on = False
        await asyncio.gather(*running)
        after = {name: talk.acknowledged for name, talk in talks.items()}
    assert list(problems(backup)) == []
    _restore(backup, tmp_path / "other")
    async with sessions_in(tmp_path / "other") as sessions:
        for session in all_sessions(sessions):
            said = texts(all_messages(sessions, session.id))
            assert said == [f"{number}" for number in range(len(said))]
            assert before[session.title] <= len(said) <= after[session.title]
            assert session.message_count == len(said)
        assert sessions.count() == len(NAMES)


def _restore(backup: Path, directory: Path) -> None:
    directory.mkdir()
    assert not put_in_place(backup, verify(backup), directory, directory / "before", forget_store_id)


async def test_a_restored_store_is_another_one(tmp_path: Path) -> None:
    """A search index or a watcher of the one must not take the other's revisions for its own."""
    async with sessions_in(tmp_path / "store") as sessions:
        await sessions.create(Session(title="kept"))
        await _backup(sessions, tmp_path / "backup")
    _restore(tmp_path / "backup", tmp_path / "other")
    async with sessions_in(tmp_path / "other") as sessions:
        assert [session.title for session in all_sessions(sessions)] == ["kept"]
    ids = {_store_id(tmp_path / name / DATA_FILE) for name in ("store", "other")}
    assert len(ids - {None}) == 2


def _store_id(path: Path) -> bytes | None:
    with offline.open_file(path) as file:
        return file.tables["counters"].get(file.txn, STORE_ID)
