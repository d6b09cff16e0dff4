"""Lists of a part: by time, archived or not, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import sessions_pb2
from oblix.v1.sessions_pb2 import Session
from support.data.clocks import Clock
from support.drivers.conversations import all_sessions, say, sessions_in, struct

from oblixd.errors import InvalidArgumentError
from oblixd.sessions import Sessions, listing


async def _make(sessions: Sessions, **metadata: Any) -> str:
    return (await sessions.create(Session(metadata=struct(**metadata)))).id


async def _archive(sessions: Sessions, session_id: str) -> None:
    await sessions.update(Session(id=session_id, archived=True), [])


def _pages(sessions: Sessions, page_size: int = 2, **query: Any) -> Iterator[str]:
    token = ""
    while True:
        page, token = sessions.list(page_size=page_size, page_token=token, **{"filter": Struct(), **query})
        yield from (session.id for session in page)
        if not token:
            return


@pytest.mark.parametrize("wanted", [{}, {"kind": "a"}, {"kind": "a", "n": 1}])
async def test_archived_sessions_are_listed_apart(sessions: Sessions, wanted: dict[str, Any]) -> None:
    ids = [await _make(sessions, kind="a", n=1) for _ in range(7)]
    for session_id in ids[::2]:
        await _archive(sessions, session_id)
    away, here = ids[::-2], ids[5::-2]
    order = [*away, *here]
    filter_ = struct(**wanted)
    for archived, expected in [
        (sessions_pb2.ARCHIVED_FILTER_UNSPECIFIED, here),
        (sessions_pb2.ARCHIVED_FILTER_EXCLUDE, here),
        (sessions_pb2.ARCHIVED_FILTER_ONLY, away),
        (sessions_pb2.ARCHIVED_FILTER_INCLUDE, order),
    ]:
        assert list(_pages(sessions, filter=filter_, archived=archived)) == expected
    assert sessions.count() == 7


async def test_the_archive_costs_the_default_list_nothing(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = await _make(sessions, kind="a")
    for _ in range(30):
        await _archive(sessions, await _make(sessions, kind="a"))
    monkeypatch.setattr(listing, "MAX_EXAMINED", 3)
    for filter_ in (Struct(), struct(kind="a")):
        page, token = sessions.list(page_size=10, page_token="", filter=filter_)
        assert ([session.id for session in page], token) == ([wanted], "")


async def test_an_archived_session_is_reached_by_its_id_and_can_come_back(sessions: Sessions) -> None:
    made = await _make(sessions, kind="a")
    await _archive(sessions, made)
    assert sessions.get(made).archived
    await sessions.append(made, [say("still here")])
    assert list(_pages(sessions, archived=sessions_pb2.ARCHIVED_FILTER_ONLY)) == [made]
    await sessions.update(Session(id=made), ["archived"])
    assert [session.id for session in all_sessions(sessions, kind="a")] == [made]
    assert list(_pages(sessions, archived=sessions_pb2.ARCHIVED_FILTER_ONLY)) == []


async def test_a_range_of_time_includes_its_start_and_not_its_end(tmp_path: Path) -> None:
    clock = Clock()
    async with sessions_in(tmp_path, clock) as sessions:
        ids = []
        for second in range(1, 6):
            clock.now = second * 1_000_000
            ids.append(await _make(sessions, kind="a"))
        for filter_ in (Struct(), struct(kind="a")):
            for first, end in [(2, 4), (1, 6), (3, 3), (4, 2), (-1, 1), (6, 9)]:
                found = _pages(
                    sessions,
                    filter=filter_,
                    updated_from=Timestamp(seconds=first),
                    updated_before=Timestamp(seconds=end),
                )
                assert list(found) == [ids[n - 1] for n in range(5, 0, -1) if first <= n < end]
        assert list(_pages(sessions, updated_from=Timestamp(seconds=4))) == [ids[4], ids[3]]
        assert list(_pages(sessions, updated_before=Timestamp(seconds=2))) == [ids[0]]
        # Finer than what is kept: the session at 2 s is before 2.0000000001 s.
        finer = Timestamp(seconds=2, nanos=1)
        assert list(_pages(sessions, updated_before=finer)) == [ids[1], ids[0]]
        assert ids[1] not in _pages(sessions, updated_from=finer)


async def test_deleted_sessions_are_listed_by_when_they_were_deleted(tmp_path: Path) -> None:
    clock = Clock()
    async with sessions_in(tmp_path, clock) as sessions:
        ids = [await _make(sessions, kind="a") for _ in range(4)]
        for session_id in (ids[2], ids[0], ids[3]):
            clock.pass_days(1)
            await sessions.delete(session_id)
        assert list(_pages(sessions, deleted=True)) == [ids[3], ids[0], ids[2]]
        (found,), _ = sessions.list(page_size=1, page_token="", filter=Struct(), deleted=True)
        assert found.delete_time.ToMicroseconds() == clock.now
        assert found.purge_time.seconds - found.delete_time.seconds == 30 * 24 * 3600
        assert [session.id for session in all_sessions(sessions)] == [ids[1]]
        assert not sessions.get(ids[1]).HasField("delete_time")


async def test_deleted_sessions_can_not_be_filtered(sessions: Sessions) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        list(_pages(sessions, filter=struct(a=1), deleted=True))
    assert (caught.value.reason, caught.value.metadata["field"]) == ("FILTER_OF_DELETED", "filter")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"updated_from": Timestamp(nanos=-1)}, "updated_from"),
        ({"updated_before": Timestamp(seconds=10**12)}, "updated_before"),
        ({"archived": 99}, "archived"),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(
    sessions: Sessions, query: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        list(_pages(sessions, **query))
    assert caught.value.metadata["field"] == field


async def test_a_token_belongs_to_its_query(sessions: Sessions) -> None:
    for _ in range(3):
        await _archive(sessions, await _make(sessions))
        await _make(sessions)
    _, token = sessions.list(page_size=1, page_token="", filter=Struct())
    for query in (
        {"archived": sessions_pb2.ARCHIVED_FILTER_ONLY},
        {"archived": sessions_pb2.ARCHIVED_FILTER_INCLUDE},
        {"deleted": True},
        {"updated_from": Timestamp(seconds=1)},
        {"updated_before": Timestamp(seconds=4_000_000_000)},
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            sessions.list(page_size=1, page_token=token, filter=Struct(), **query)
        assert caught.value.reason == "PAGE_TOKEN_INVALID"
