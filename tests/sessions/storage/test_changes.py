"""Revisions: every change of a header has one, in the change's own transaction."""

from __future__ import annotations

from pathlib import Path

import pytest
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import say, sessions_in, store_in, struct
from support.drivers.waiting import eventually

from oblixd.sessions import Sessions
from oblixd.sessions.storage import changes
from oblixd.sessions.storage.changes import STORE_ID


def _changes(sessions: Sessions, revision: int = 0) -> list[tuple[int, str]]:
    found = sessions.db.changes.after(revision, 1000)
    assert found is not None
    return [(change.revision, change.session_id) for change in found]


async def test_each_change_counts_one_up(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    await sessions.append(made.id, [say("one"), say("two")])
    await sessions.update(Session(id=made.id, title="T"), [])
    turn = await sessions.begin_turn(made.id, "request", [say("question")])
    await turn.finish(messages_pb2.Message())
    copy = await sessions.copy(made.id, None)
    await sessions.delete(made.id)
    await sessions.undelete(made.id)
    told = [made.id] * 5 + [copy.id] + [made.id] * 2
    assert _changes(sessions) == list(enumerate(told, 1))
    assert sessions.db.changes.newest() == len(told)
    assert _changes(sessions, 5) == list(enumerate(told, 1))[5:]


async def test_checkpoints_are_no_changes(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    turn = await sessions.begin_turn(made.id, "request", [say("question")])
    before = sessions.db.changes.newest()
    for _ in range(3):
        await turn.checkpoint([messages_pb2.Part(text="piece")])
    assert sessions.db.changes.newest() == before


async def test_a_write_that_fails_takes_no_revision(sessions: Sessions) -> None:
    made = await sessions.create(Session())
    await sessions.begin_turn(made.id, "request", [say("question")])
    before = sessions.db.changes.newest()
    with pytest.raises(ValueError, match="after the change"):
        await sessions.db.store.write(lambda txn: _fail_after_a_change(sessions, made.id, txn))
    assert sessions.db.changes.newest() == before


def _fail_after_a_change(sessions: Sessions, session_id: str, txn: object) -> None:
    headers = sessions.db.headers
    headers.change_log.note(txn, headers.ref(txn, session_id))
    raise ValueError("after the change")


async def test_revisions_outlive_the_process(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        made = await sessions.create(Session())
        before, store_id = _changes(sessions), sessions.db.changes.store_id()
    async with sessions_in(tmp_path) as sessions:
        assert (_changes(sessions), sessions.db.changes.store_id()) == (before, store_id)
        await sessions.append(made.id, [say("more")])
        assert _changes(sessions) == [*before, (2, made.id)]


async def test_only_the_newest_are_kept(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MIN_CHANGES", 20)
    monkeypatch.setattr(changes, "TRIM_BATCH", 5)
    made = await sessions.create(Session())
    for n in range(1, 60):
        await sessions.append(made.id, [say(f"{n}")])
        with sessions.db.store.read() as txn:
            kept = sessions.db.tables.changes.count(txn)
        assert min(n + 1, 20) <= kept <= 25
    oldest = sessions.db.changes.oldest()
    assert sessions.db.changes.after(oldest - 1, 10) is None
    assert [revision for revision, _ in _changes(sessions, oldest)] == list(range(oldest + 1, 61))


async def test_a_change_tells_by_what_the_session_was_found_where_that_became_less(
    sessions: Sessions,
) -> None:
    made = await sessions.create(Session(metadata=struct(a=1)))
    await sessions.update(Session(id=made.id, title="T"), [])
    await sessions.update(Session(id=made.id, metadata=struct(a=2)), [])
    await sessions.update(Session(id=made.id, archived=True), [])
    await sessions.update(Session(id=made.id, metadata=struct(a=3)), [])
    await sessions.delete(made.id)
    found = sessions.db.changes.after(0, 10) or []
    told = [None if change.labels_before is None else len(change.labels_before) for change in found]
    assert told == [None, None, 1, 1, None, None]
    one, two = found[2].labels_before, found[3].labels_before
    assert one != two


async def test_listeners_hear_of_changes_once_for_each_group_and_of_nothing_else(sessions: Sessions) -> None:
    heard: list[int] = []
    sessions.db.changes.listeners.append(lambda: heard.append(sessions.db.changes.newest()))
    made = await sessions.create(Session())
    turn = await sessions.begin_turn(made.id, "request", [say("question")])
    await eventually(lambda: heard == [1, 2])
    await turn.checkpoint([messages_pb2.Part(text="piece")])
    await sessions.db.store.write(lambda txn: None)
    assert heard == [1, 2]


async def test_a_restored_store_is_another_one_and_tells_no_revision_again(tmp_path: Path) -> None:
    async with sessions_in(tmp_path) as sessions:
        ids = [(await sessions.create(Session())).id for _ in range(3)]
        before = sessions.db.changes.store_id()
    async with store_in(tmp_path) as store:
        await store.write(lambda txn: store.table("counters").delete(txn, STORE_ID))
    async with sessions_in(tmp_path) as sessions:
        assert sessions.db.changes.store_id() not in {before, b""}
        # The store that the backup was made of may have gone on to any of these.
        assert all(sessions.db.changes.after(revision, 1) is None for revision in (0, 3, 4, 10**6))
        newest = sessions.db.changes.newest()
        await sessions.append(ids[0], [say("more")])
        assert _changes(sessions, newest) == [(newest + 1, ids[0])]
