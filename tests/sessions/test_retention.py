"""Retention: what nobody added to for long is archived or deleted, by rules, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import sessions_pb2
from oblix.v1.sessions_pb2 import (
    RETENTION_ACTION_ARCHIVE,
    RETENTION_ACTION_DELETE,
    PruneSessionsRequest,
    Retention,
    Session,
)
from support.data.clocks import Clock
from support.drivers.conversations import say, sessions_in, struct
from support.drivers.daemon import run_daemon
from support.drivers.grpc_calls import Wire

from oblixd.errors import InvalidArgumentError
from oblixd.sessions import RetentionConfig, Sessions, deletion, retention


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sessions(tmp_path: Path, clock: Clock) -> AsyncIterator[Sessions]:
    """Sessions at a clock that the test sets; the configuration archives after ten days."""
    async with sessions_in(tmp_path, clock, RetentionConfig(retention_days=10)) as sessions:
        yield sessions


async def _make(sessions: Sessions, **metadata: Any) -> str:
    return (await sessions.create(Session(metadata=struct(**metadata)))).id


async def _retain(sessions: Sessions, days: int, action: sessions_pb2.RetentionAction.ValueType) -> str:
    made = await _make(sessions)
    retention = Retention(days=days, action=action)
    await sessions.update(Session(id=made, retention=retention), ["retention"])
    return made


async def _prune(sessions: Sessions, **fields: Any) -> list[str]:
    response = await sessions.prune(PruneSessionsRequest(**fields))
    assert response.total_count == len(response.sessions)
    return sorted(pruned.session.id for pruned in response.sessions)


def _list_titles(sessions: Sessions, **query: Any) -> list[str]:
    page, _ = sessions.list(page_size=0, page_token="", filter=Struct(), **query)
    return sorted(session.id for session in page)


async def test_the_configured_retention_archives_what_is_old(sessions: Sessions, clock: Clock) -> None:
    old, touched = await _make(sessions), await _make(sessions)
    clock.pass_days(6)
    await sessions.append(touched, [say("still in use")])
    clock.pass_days(5)
    before = sessions.get(old)
    assert await _prune(sessions) == [old]
    assert (_list_titles(sessions), _list_titles(sessions, archived=sessions_pb2.ARCHIVED_FILTER_ONLY)) == (
        [touched],
        [old],
    )
    assert sessions.get(old).update_time == before.update_time
    assert await _prune(sessions) == []


async def test_a_retention_of_its_own_goes_before_the_configured_one(
    sessions: Sessions, clock: Clock
) -> None:
    short = await _retain(sessions, 2, RETENTION_ACTION_DELETE)
    ever = await _retain(sessions, 0, RETENTION_ACTION_ARCHIVE)
    long = await _retain(sessions, 20, RETENTION_ACTION_ARCHIVE)
    clock.pass_days(3)
    assert await _prune(sessions) == [short]
    assert _list_titles(sessions, deleted=True) == [short]
    clock.pass_days(12)
    assert await _prune(sessions) == []
    clock.pass_days(6)
    assert await _prune(sessions) == [long]
    assert _list_titles(sessions) == [ever]
    await sessions.update(Session(id=ever), ["retention"])
    clock.pass_days(11)
    assert await _prune(sessions) == [ever]


async def test_a_retention_is_told_updated_and_copied(sessions: Sessions) -> None:
    made = await _retain(sessions, 2, RETENTION_ACTION_DELETE)
    expected = Retention(days=2, action=RETENTION_ACTION_DELETE)
    assert sessions.get(made).retention == expected
    assert (await sessions.copy(made, None)).retention == expected
    await sessions.update(Session(id=made, title="T"), [])
    assert sessions.get(made).retention == expected
    assert not (await sessions.update(Session(id=made), ["retention"])).HasField("retention")


@pytest.mark.parametrize("retention", [Retention(days=-1), Retention(days=36_501), Retention(action=7)])
async def test_a_retention_that_is_none_is_refused(sessions: Sessions, retention: Retention) -> None:
    made = await _make(sessions)
    with pytest.raises(InvalidArgumentError) as caught:
        await sessions.update(Session(id=made, retention=retention), [])
    assert caught.value.metadata["field"].startswith("session.retention.")


async def test_a_prune_by_hand_takes_what_the_filter_names(sessions: Sessions, clock: Clock) -> None:
    mine, _ = await _make(sessions, kind="a"), await _make(sessions, kind="b")
    clock.pass_days(1)
    young = await _make(sessions, kind="a")
    clock.pass_days(1.5)
    request = {"days": 2, "action": RETENTION_ACTION_DELETE, "filter": struct(kind="a")}
    assert await _prune(sessions, **request, dry_run=True) == [mine]
    assert sessions.count() == 3
    assert await _prune(sessions, **request) == [mine]
    assert _list_titles(sessions, deleted=True) == [mine]
    assert young in _list_titles(sessions)
    assert await sessions.undelete(mine)


async def test_to_delete_takes_the_archived_ones_too(sessions: Sessions, clock: Clock) -> None:
    made = await _make(sessions)
    await sessions.update(Session(id=made, archived=True), [])
    clock.pass_days(3)
    assert await _prune(sessions, days=2, action=RETENTION_ACTION_ARCHIVE) == []
    assert await _prune(sessions, days=2, action=RETENTION_ACTION_DELETE) == [made]


async def test_a_running_turn_is_never_pruned(sessions: Sessions, clock: Clock) -> None:
    running = await _make(sessions)
    own = await _retain(sessions, 1, RETENTION_ACTION_DELETE)
    for session_id in (running, own):
        await sessions.begin_turn(session_id, f"of {session_id}", [say("question")])
    clock.pass_days(100)
    assert await _prune(sessions) == []
    assert await _prune(sessions, days=2, action=RETENTION_ACTION_DELETE) == []


async def test_many_are_pruned_bit_by_bit(
    sessions: Sessions, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_SIZE", 3)
    monkeypatch.setattr(retention, "MAX_TOLD", 5)
    for _ in range(5):
        await _make(sessions)
        await _retain(sessions, 1, RETENTION_ACTION_ARCHIVE)
    clock.pass_days(11)
    for dry_run in (True, False):
        response = await sessions.prune(PruneSessionsRequest(dry_run=dry_run))
        assert (len(response.sessions), response.total_count) == (5, 10)
        assert {pruned.action for pruned in response.sessions} == {RETENTION_ACTION_ARCHIVE}
        assert not any(pruned.session.archived for pruned in response.sessions)
    assert _list_titles(sessions) == []


async def test_two_prunes_at_once_do_it_once(sessions: Sessions, clock: Clock) -> None:
    ids = [await _make(sessions) for _ in range(5)]
    clock.pass_days(3)
    request = PruneSessionsRequest(days=2, action=RETENTION_ACTION_DELETE)
    told = await asyncio.gather(*(sessions.prune(request) for _ in range(2)))
    assert sorted(pruned.session.id for response in told for pruned in response.sessions) == sorted(ids)


def test_the_daemon_goes_by_its_configuration(tmp_path: Path) -> None:
    settings = {"RETENTION_DAYS": "30", "RETENTION_ACTION": "delete", "DELETED_DAYS": "5"}
    with run_daemon(
        tmp_path, **{f"OBLIX_SESSIONS_{name}": value for name, value in settings.items()}
    ) as daemon:
        wire = Wire(daemon.channel).sessions
        old = Session(id="old", update_time=Timestamp(seconds=1_000_000_000))
        steps = [
            sessions_pb2.ImportSessionsRequest(header=sessions_pb2.ImportHeader(session=old, keep_id=True))
        ]
        assert [answer.totals.imported_count for answer in wire.ImportSessions(iter(steps))][-1] == 1
        pruned = wire.PruneSessions(PruneSessionsRequest())
        assert [(each.session.id, each.action) for each in pruned.sessions] == [
            ("old", RETENTION_ACTION_DELETE)
        ]
        (deleted,) = wire.ListSessions(sessions_pb2.ListSessionsRequest(deleted=True)).sessions
        assert deleted.purge_time.seconds - deleted.delete_time.seconds == 5 * 24 * 3600
        assert wire.UndeleteSession(sessions_pb2.UndeleteSessionRequest(session_id="old")).session.id == "old"


async def test_nothing_is_kept_of_a_deleted_one_where_that_is_configured(
    tmp_path: Path, clock: Clock
) -> None:
    async with sessions_in(tmp_path, clock, RetentionConfig(deleted_days=0)) as sessions:
        await _make(sessions)
        clock.pass_days(3)
        assert len(await _prune(sessions, days=2, action=RETENTION_ACTION_DELETE)) == 1
        assert _list_titles(sessions, deleted=True) == []


async def test_without_a_configured_retention_nothing_happens(tmp_path: Path, clock: Clock) -> None:
    async with sessions_in(tmp_path, clock) as sessions:
        await _make(sessions)
        clock.pass_days(30_000)
        assert await _prune(sessions) == []


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"days": -1}, "INVALID_DAYS"),
        ({"days": 36_501}, "INVALID_DAYS"),
        ({"days": 1, "action": 9}, "INVALID_VALUE"),
        ({"action": RETENTION_ACTION_DELETE}, "DAYS_MISSING"),
        ({"filter": struct(a=1)}, "DAYS_MISSING"),
        ({"days": 1, "filter": struct(a=[1])}, "FILTER_NOT_SCALAR"),
        ({"days": 1, "action": RETENTION_ACTION_DELETE, "filter": struct()}, "FILTER_EMPTY"),
        ({"days": 1, "action": 1, "filter": struct(), "dry_run": True}, "FILTER_EMPTY"),
        ({"filter": struct()}, "DAYS_MISSING"),
        ({"days": 1}, "ACTION_MISSING"),
    ],
)
async def test_a_prune_that_makes_no_sense_is_refused(
    sessions: Sessions, request_: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await _prune(sessions, **request_)
    assert caught.value.reason == reason


@pytest.mark.parametrize("deleted_days", [0, 10])
async def test_pruned_and_purged_sessions_are_reported(
    tmp_path: Path, clock: Clock, deleted_days: int
) -> None:
    async with sessions_in(tmp_path, clock, RetentionConfig(deleted_days=deleted_days)) as sessions:
        told: list[str] = []
        sessions.on_removed(told.append)
        old = await _make(sessions)
        clock.pass_days(2)
        await _prune(sessions, days=1, action=RETENTION_ACTION_DELETE)
        assert told == [old]
        clock.pass_days(11)
        await deletion.purge(sessions.db, 10)
        assert told == [old] * (2 if deleted_days else 1)
