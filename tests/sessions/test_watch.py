"""Watching: the headers, what was missed, then each change; slow readers harm nobody."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from oblix.v1 import messages_pb2, sessions_pb2, sessions_pb2_grpc
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import say, struct
from support.drivers.daemon import SOON, RunningDaemon, run_daemon
from support.drivers.watching import WAIT_S, next_event, told_until_synced

from oblixd.errors import InvalidArgumentError, UnavailableError
from oblixd.rpc.edge import Writer
from oblixd.sessions import Sessions, watch
from oblixd.sessions.storage import changes

WATCHERS = 200
UPDATES = 100
BIG = 60_000
"""Characters of an update. A hundred do not fit between the daemon and a reader that does not read."""
APART = (("grpc.use_local_subchannel_pool", 1),)
"""A connection of its own, as another program has it."""


async def _make(sessions: Sessions, **metadata: Any) -> str:
    return (await sessions.create(Session(metadata=struct(**metadata)))).id


async def test_headers_come_first_then_each_change(sessions: Sessions) -> None:
    old, new = await _make(sessions), await _make(sessions)
    async with aclosing(sessions.watch(Struct(), None)) as events:
        assert [await next_event(events) for _ in range(3)] == [
            ("session", new, 2),
            ("session", old, 2),
            ("synced", "", 2),
        ]
        await sessions.append(old, [say("hello")])
        assert await next_event(events) == ("session", old, 3)
        made = await _make(sessions)
        assert await next_event(events) == ("session", made, 4)
        await sessions.delete(new)
        assert await next_event(events) == ("removed", new, 5)
        await sessions.undelete(new)
        assert await next_event(events) == ("session", new, 6)


async def test_a_header_is_told_as_it_is_now(sessions: Sessions) -> None:
    made = await _make(sessions)
    async with aclosing(sessions.watch(Struct(), 1)) as events:
        assert await next_event(events) == ("synced", "", 1)
        turn = await sessions.begin_turn(made, "request", [say("question")])
        event = await anext(events)
        assert event.session.session == sessions.get(made)
        assert event.session.session.running_request_id == "request"
        await turn.finish(messages_pb2.Message())
        assert (await anext(events)).session.session.running_request_id == ""


async def test_only_what_matches_is_told_and_what_no_longer_does_is_removed(sessions: Sessions) -> None:
    mine, other = await _make(sessions, kind="a", n=1), await _make(sessions, kind="b")
    async with aclosing(sessions.watch(struct(kind="a"), None)) as events:
        assert await told_until_synced(events) == [("session", mine)]
        await sessions.append(other, [say("not for us")])
        await sessions.delete(other)
        await sessions.update(Session(id=mine, metadata=struct(n=2)), [])
        assert (await next_event(events))[:2] == ("session", mine)
        await sessions.update(Session(id=mine, metadata=struct(kind="b")), [])
        assert (await next_event(events))[:2] == ("removed", mine)
        await sessions.append(mine, [say("not for us any more")])
        await sessions.update(Session(id=mine, metadata=struct(kind="a")), [])
        assert (await next_event(events))[:2] == ("session", mine)


async def test_archived_sessions_are_not_watched(sessions: Sessions) -> None:
    made, away = await _make(sessions), await _make(sessions)
    await sessions.update(Session(id=away, archived=True), [])
    async with aclosing(sessions.watch(Struct(), None)) as events:
        assert await told_until_synced(events) == [("session", made)]
        await sessions.append(away, [say("unseen")])
        await sessions.update(Session(id=made, archived=True), [])
        assert (await next_event(events))[:2] == ("removed", made)
        await sessions.update(Session(id=away), ["archived"])
        assert (await next_event(events))[:2] == ("session", away)


async def test_a_lost_watch_goes_on_where_it_was(sessions: Sessions) -> None:
    ids = [await _make(sessions) for _ in range(4)]
    await sessions.append(ids[0], [say("again")])
    await sessions.delete(ids[3])
    async with aclosing(sessions.watch(Struct(), 1)) as events:
        assert [await next_event(events) for _ in range(5)] == [
            ("session", ids[1], 2),
            ("session", ids[2], 3),
            ("session", ids[0], 5),
            ("removed", ids[3], 6),
            ("synced", "", 6),
        ]


async def test_headers_that_change_while_they_are_told_are_not_missed(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PAGE", 2)
    ids = [await _make(sessions) for _ in range(7)]
    async with aclosing(sessions.watch(Struct(), None)) as events:
        assert (await next_event(events))[1] == ids[6]
        await sessions.append(ids[0], [say("moves to the front")])
        await sessions.delete(ids[1])
        seen = {session_id: kind for kind, session_id in await told_until_synced(events)}
    assert seen == {**dict.fromkeys(ids[:1] + ids[2:6], "session"), ids[1]: "removed"}


async def test_a_reader_that_was_away_is_told_each_session_once(sessions: Sessions) -> None:
    ids = [await _make(sessions) for _ in range(3)]
    async with aclosing(sessions.watch(Struct(), 3)) as events:
        assert await next_event(events) == ("synced", "", 3)
        for n in range(10):
            for session_id in ids:
                await sessions.append(session_id, [say(f"{n}")])
        heard = [(await next_event(events))[1] for _ in range(len(ids))]
        assert heard == ids
        await sessions.delete(ids[0])
        assert (await next_event(events))[:2] == ("removed", ids[0])


async def test_a_watcher_that_is_far_behind_is_told_when_it_caught_up(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PAGE", 5)
    async with aclosing(sessions.watch(Struct(), 0)) as events:
        assert await next_event(events) == ("synced", "", 0)
        ids = [await _make(sessions) for _ in range(12)]
        assert await told_until_synced(events) == [("session", session_id) for session_id in ids]


async def test_a_watcher_that_is_too_far_behind_must_resync(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MIN_CHANGES", 5)
    monkeypatch.setattr(changes, "TRIM_BATCH", 5)
    behind = sessions.watch(Struct(), 0)
    assert await next_event(behind) == ("synced", "", 0)
    for _ in range(30):
        await _make(sessions)
    oldest = sessions.db.changes.oldest()
    assert oldest > 0
    for events in (behind, sessions.watch(Struct(), oldest - 1)):
        assert await next_event(events) == ("resync_required", "", oldest)
        with pytest.raises(StopAsyncIteration):
            await anext(events)
    async with aclosing(sessions.watch(Struct(), oldest)) as events:
        assert len(await told_until_synced(events)) == 30 - oldest


@pytest.mark.parametrize("revision", [-1, 2])
async def test_a_revision_that_never_was_is_refused(sessions: Sessions, revision: int) -> None:
    await _make(sessions)
    with pytest.raises(InvalidArgumentError) as caught:
        sessions.watch(Struct(), revision)
    assert caught.value.reason == "INVALID_REVISION"
    assert caught.value.metadata["limit"] == "1"


async def test_the_end_of_the_daemon_ends_the_watches(sessions: Sessions) -> None:
    events = sessions.watch(Struct(), None)
    assert (await next_event(events))[0] == "synced"
    assert sessions.watch_count == 1
    sessions.close()
    with pytest.raises(UnavailableError, match="watch again"):
        await next_event(events)
    assert sessions.watch_count == 0


async def test_a_watcher_keeps_an_idle_daemon_running_and_is_told_of_its_end(tmp_path: Path) -> None:
    for idle_s in (0.2, 2.0, 20.0):  # on a busy machine the first daemon may end before it is watched
        if await _is_kept_by_its_watch(tmp_path, idle_s):
            return
    raise AssertionError("no watch kept a daemon")


async def _is_kept_by_its_watch(home: Path, idle_s: float) -> bool:
    """Whether a watch began before the idle daemon ended; if so, the daemon stays until its SIGTERM."""
    daemon = RunningDaemon(home, {"OBLIX_EMBEDDED_ENABLED": "false", "OBLIX_DAEMON_IDLE_EXIT_S": str(idle_s)})
    try:
        async with grpc.aio.insecure_channel(f"unix:{daemon.socket}", SOON) as channel:
            events = Watched(channel).watch(_until_it_serves=True)
            try:
                assert (await next_event(events))[0] == "synced"
            except grpc.aio.AioRpcError:
                assert await asyncio.to_thread(daemon.process.wait, WAIT_S) == 0
                return False
            with pytest.raises(subprocess.TimeoutExpired):
                await asyncio.to_thread(daemon.process.wait, 4 * idle_s)
            daemon.process.terminate()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await next_event(events)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert b"DAEMON_STOPPING" in dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
        assert await asyncio.to_thread(daemon.process.wait, WAIT_S) == 0
        return True
    finally:
        daemon.end()


async def test_one_frozen_watcher_of_two_hundred_is_noticed_by_nobody(tmp_path: Path) -> None:
    with run_daemon(tmp_path, OBLIX_EMBEDDED_ENABLED="false") as daemon:
        target = f"unix:{daemon.socket}"
        async with (
            grpc.aio.insecure_channel(target) as channel,
            grpc.aio.insecure_channel(target, APART) as apart,
        ):
            stub = Watched(channel)
            big, small = await stub.make(size="big"), await stub.make(size="small")
            frozen = Watched(apart).watch(size="big")
            assert (await next_event(frozen))[1] == big
            readers = [stub.watch(size="small") for _ in range(WATCHERS - 1)]
            await asyncio.gather(*map(told_until_synced, readers))
            for number in range(1, UPDATES + 1):
                await asyncio.gather(stub.retitle(big, number, "x" * BIG), stub.retitle(small, number))
            heard = await asyncio.gather(*(_titles(reader, UPDATES) for reader in readers))
            assert {titles[-1] for titles in heard} == {str(UPDATES)}
            late = await _titles(frozen, UPDATES)
            assert late[-1] == str(UPDATES)
            assert len(late) < UPDATES, "what waited for it was not told as one"


class Watched:
    """Calls to a daemon, as these tests make them."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = sessions_pb2_grpc.SessionServiceStub(channel)

    async def make(self, **metadata: Any) -> str:
        request = sessions_pb2.CreateSessionRequest(session=Session(metadata=struct(**metadata)))
        return (await self._stub.CreateSession(request)).session.id

    async def retitle(self, session_id: str, number: int, text: str = "") -> None:
        session = Session(id=session_id, title=f"{number}", context=struct(text=text))
        await self._stub.UpdateSession(sessions_pb2.UpdateSessionRequest(session=session))

    def watch(
        self, *, _until_it_serves: bool = False, **wanted: Any
    ) -> AsyncIterator[sessions_pb2.WatchSessionsResponse]:
        request = sessions_pb2.WatchSessionsRequest(filter=struct(**wanted) if wanted else None)
        return aiter(self._stub.WatchSessions(request, wait_for_ready=_until_it_serves))


async def _titles(events: AsyncIterator[sessions_pb2.WatchSessionsResponse], last: int) -> list[str]:
    """The titles that are told, up to one."""
    titles = [""]
    async with asyncio.timeout(WAIT_S):
        while titles[-1] != str(last):
            event = await anext(events)
            titles += [event.session.session.title] if event.HasField("session") else []
    return titles


async def test_a_change_is_matched_once_and_told_after_its_answer(sessions: Sessions) -> None:
    made = await _make(sessions, kind="a")
    watched = {
        kind: [sessions.watch(struct(**filter_), None) for _ in range(5)]
        for kind, filter_ in {"a": {"kind": "a"}, "b": {"kind": "b"}, "all": {}}.items()
    }
    everyone = [events for group in watched.values() for events in group]
    for events in everyone:
        await told_until_synced(events)
    waiting = {kind: [asyncio.ensure_future(anext(e)) for e in group] for kind, group in watched.items()}
    await asyncio.sleep(0)
    await sessions.append(made, [say("hello")])
    assert not [one for group in waiting.values() for one in group if one.done()], "the answer goes first"
    heard = await asyncio.wait_for(asyncio.gather(*waiting["a"], *waiting["all"]), WAIT_S)
    assert {event.session.session.id for event in heard} == {made}
    assert len({id(event) for event in heard}) == 1, "one event for all watchers, of whichever filter"
    assert not [one for one in waiting["b"] if one.done()]
    for one in waiting["b"]:
        one.cancel()
    await asyncio.gather(*waiting["b"], return_exceptions=True)
    for events in everyone:
        await events.aclose()
    await sessions.append(made, [say("to nobody")])


def test_an_event_for_many_watchers_is_serialised_once() -> None:
    written = []
    write = Writer(lambda response: written.append(response) or bytes(len(str(response))))
    responses = [
        sessions_pb2.WatchSessionsResponse(synced=sessions_pb2.Synced(revision=n)) for n in range(40)
    ]
    for response in responses:
        assert len({id(write(response)) for _ in range(10)}) == 1
    assert written == responses
