"""Lists: order, pages, filters."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from oblix.v1.sessions_pb2 import DamagedSession, Session
from support.drivers.conversations import all_sessions, say, sessions_in, struct

from oblixd.errors import InvalidArgumentError
from oblixd.sessions import Sessions, listing
from oblixd.sessions.storage.schema import number_key


async def _make(sessions: Sessions, count: int, **metadata: Any) -> list[str]:
    return [(await sessions.create(Session(metadata=struct(**metadata)))).id for _ in range(count)]


async def test_most_recently_changed_comes_first(sessions: Sessions) -> None:
    first, second, third = await _make(sessions, 3)
    await sessions.append(first, [say("hello")])
    assert [session.id for session in all_sessions(sessions)] == [first, third, second]


async def test_sessions_of_one_instant_are_ordered_by_id(tmp_path: Path) -> None:
    async with sessions_in(tmp_path, clock=lambda: 1_000_000) as sessions:
        ids = await _make(sessions, 5)
        assert [session.id for session in all_sessions(sessions)] == sorted(ids, reverse=True)


async def test_a_clock_that_steps_back_breaks_nothing(tmp_path: Path) -> None:
    times = itertools.chain([5_000_000, 4_000_000, -3_000_000], itertools.repeat(2_000_000))
    async with sessions_in(tmp_path, clock=lambda: next(times)) as sessions:
        ids = await _make(sessions, 3, kind="a")
        assert [session.id for session in all_sessions(sessions)] == ids
        await sessions.append(ids[0], [say("later, says the clock, is earlier")])
        assert [session.id for session in all_sessions(sessions, kind="a")] == [ids[1], ids[0], ids[2]]


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("wanted", [{}, {"kind": "a"}, {"kind": "a", "odd": True}])
async def test_pages_together_are_the_whole_list(
    sessions: Sessions, page_size: int, wanted: dict[str, Any]
) -> None:
    for n in range(8):
        await _make(sessions, 1, kind="a" if n % 4 else "b", odd=bool(n % 2))
    whole, token = sessions.list(page_size=1000, page_token="", filter=struct(**wanted))
    assert token == ""
    assert whole
    assert all_sessions(sessions, page_size, **wanted) == whole


async def test_a_page_stops_before_it_grows_too_large(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await _make(sessions, 6, text="x" * 500)
    monkeypatch.setattr(listing, "MAX_PAGE_BYTES", 1200)
    page, token = sessions.list(page_size=10, page_token="", filter=Struct())
    assert [session.id for session in page] == ids[:2:-1]
    assert token
    assert [session.id for session in all_sessions(sessions)] == ids[::-1]


async def test_a_page_looks_at_a_bounded_number_of_sessions(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _make(sessions, 10, one=1)
    wanted = await _make(sessions, 1, one=1, other=1)
    await _make(sessions, 10, other=1, one=2)
    monkeypatch.setattr(listing, "MAX_EXAMINED", 4)
    page, token = sessions.list(page_size=10, page_token="", filter=struct(one=1, other=1))
    assert [session.id for session in page] in ([], wanted)
    assert token
    assert [session.id for session in all_sessions(sessions, one=1, other=1)] == wanted


@pytest.mark.parametrize(("given", "got"), [(0, 50), (3, 3), (5000, 60)])
async def test_page_sizes_are_made_to_fit(sessions: Sessions, given: int, got: int) -> None:
    await _make(sessions, 60)
    assert len(sessions.list(page_size=given, page_token="", filter=Struct())[0]) == got


async def test_a_negative_page_size_is_refused(sessions: Sessions) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        sessions.list(page_size=-1, page_token="", filter=Struct())
    assert caught.value.metadata["field"] == "page_size"
    assert caught.value.metadata["given"] == "-1"


async def test_a_foreign_token_is_refused(sessions: Sessions) -> None:
    session_id = (await _make(sessions, 3, kind="a"))[0]
    await sessions.append(session_id, [say("one"), say("two")])
    _, token = sessions.list(page_size=1, page_token="", filter=struct(kind="a"))
    _, other = sessions.messages(session_id, page_size=1, page_token="", newest_first=False)
    altered = ("B" if token[0] == "A" else "A") + token[1:]
    for foreign, wanted in [
        (token, {}),
        (token, {"kind": "b"}),
        (other, {"kind": "a"}),
        (altered, {"kind": "a"}),
        ("nonsense", {"kind": "a"}),
        ("é", {"kind": "a"}),
        ("A", {"kind": "a"}),
    ]:
        with pytest.raises(InvalidArgumentError) as caught:
            sessions.list(page_size=1, page_token=foreign, filter=struct(**wanted))
        assert caught.value.reason == "PAGE_TOKEN_INVALID"


RENAMES = """
import sys
import lmdb
from oblixd.store.table import add_checksum
from oblixd.store.v1.records_pb2 import SessionRecord

with lmdb.open(sys.argv[1], max_dbs=64, map_size=1 << 30) as environment:
    table = environment.open_db(b"sessions")
    with environment.begin(write=True) as txn:
        for key, value in [*txn.cursor(table)]:
            record = SessionRecord.FromString(value[4:])
            record.title = "told by another process"
            txn.put(key, add_checksum(key, record.SerializeToString()), db=table)
"""


async def test_a_list_is_never_older_than_the_file_whoever_writes_it(
    sessions: Sessions, tmp_path: Path
) -> None:
    made = await sessions.create(Session(title="told here"))
    await sessions.append(made.id, [say("hello")])
    assert [(one.title, one.message_count) for one in all_sessions(sessions)] == [("told here", 1)]
    await sessions.append(made.id, [say("once more")])
    assert [(one.title, one.message_count) for one in all_sessions(sessions)] == [("told here", 2)]
    subprocess.run([sys.executable, "-c", RENAMES, tmp_path / "store"], check=True, timeout=60)  # noqa: ASYNC221
    told = [(one.title, one.message_count) for one in all_sessions(sessions)]
    assert told == [("told by another process", 2)]


async def test_a_record_that_is_damaged_after_it_was_listed_is_not_listed_again(sessions: Sessions) -> None:
    """A list checks no checksum twice, as long as the bytes are those that it checked."""
    hurt = await sessions.create(Session(title="hurt"))
    well = await sessions.create(Session(title="well"))
    assert len(all_sessions(sessions)) == 2
    headers, store = sessions.db.tables.sessions, sessions.db.store
    with store.read() as txn:
        key = number_key(sessions.db.headers.ref(txn, hurt.id).number)
        value = headers.sealed_value(txn, key)
    assert value is not None
    for harmed in (value.replace(b"hurt", b"hurz"), b"????" + value[4:]):
        await store.write(lambda txn, value=harmed: txn.put(key, value, db=headers._database))
        damaged: list[DamagedSession] = []
        found, _ = sessions.list(page_size=0, page_token="", filter=struct(), damaged=damaged)
        assert [one.id for one in found] == [well.id]
        assert [(one.session_id, one.reason) for one in damaged] == [(hurt.id, "RECORD_DAMAGED")]


async def test_nothing_of_a_removed_session_stays_in_what_lists_share(sessions: Sessions) -> None:
    made = await sessions.create(Session(title="secret"))
    assert len(all_sessions(sessions)) == 1
    shared = sessions.db.headers._shared_session
    assert shared.cache_info().currsize == 1
    await sessions.delete(made.id, purge=True)
    assert shared.cache_info().currsize == 0
