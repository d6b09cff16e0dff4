"""Keeping sessions in order from Python: lists of a part, updates, forks, prunes, deletions undone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from oblix import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OblixClient,
)


async def _with_messages(client: OblixClient, count: int) -> str:
    session_id = await client.create_session("Talk", metadata={"test": "talk"})
    for number in range(1, count + 1):
        client.session_manager.save_message(session_id, f"message {number}")
    return session_id


def _ids(found: list[dict]) -> list[str]:
    return [session["id"] for session in found]


async def test_an_archived_session_is_listed_apart(client: OblixClient) -> None:
    wanted = {"test": "archive"}
    here, away = [await client.create_session(metadata=wanted) for _ in range(2)]
    assert client.update_session(away, archived=True)["archived"] is True
    assert _ids(client.list_sessions(filter_metadata=wanted)) == [here]
    (found,) = client.list_sessions(filter_metadata=wanted, archived=True)
    assert (found["id"], found["archived"]) == (away, True)
    assert _ids(client.list_sessions(filter_metadata=wanted, archived=None)) == [away, here]
    assert client.load_session(away) is not None
    assert "archived" not in client.update_session(away, archived=False)
    assert _ids(client.list_sessions(filter_metadata=wanted)) == [away, here]


async def test_a_list_takes_a_range_of_time(client: OblixClient) -> None:
    wanted = {"test": "time"}
    made = await client.create_session(metadata=wanted)
    now = datetime.now(UTC)
    early, late = now - timedelta(hours=1), now + timedelta(hours=1)
    assert _ids(client.list_sessions(filter_metadata=wanted, updated_from=early, updated_before=late)) == [
        made
    ]
    assert client.list_sessions(filter_metadata=wanted, updated_from=late.isoformat()) == []
    assert client.list_sessions(filter_metadata=wanted, updated_before=early) == []
    with pytest.raises(InvalidArgumentError, match="updated_from"):
        client.list_sessions(updated_from="soon")


async def test_a_deleted_session_can_be_brought_back(client: OblixClient) -> None:
    session_id = await _with_messages(client, 2)
    before = client.load_session(session_id)
    client.delete_session(session_id)
    deleted = next(found for found in client.list_sessions(deleted=True) if found["id"] == session_id)
    thirty_days = datetime.fromisoformat(deleted["purged_at"]) - datetime.fromisoformat(deleted["deleted_at"])
    assert thirty_days == timedelta(days=30)
    assert client.undelete_session(session_id) is True
    assert client.load_session(session_id) == before
    with pytest.raises(FailedPreconditionError) as caught:
        client.undelete_session(session_id)
    assert caught.value.reason == "SESSION_NOT_DELETED"
    assert client.undelete_session("nobody") is False


async def test_an_update_changes_what_is_given_and_nothing_else(client: OblixClient) -> None:
    session_id = await client.create_session("Old", {"system": "Be brief."}, {"a": 1, "b": 2})
    header = client.update_session(
        session_id,
        title="New",
        metadata={"b": 3, "c.d": None},
        context={"note": "x"},
        retention={"days": 90, "action": "delete"},
    )
    assert (header["title"], header["metadata"]) == ("New", {"a": 1, "b": 3, "c.d": None})
    assert header["context"] == {"system": "Be brief.", "note": "x"}
    assert header["retention"] == {"days": 90, "action": "delete"}
    assert client.get_session(session_id) == header
    assert "retention" not in client.update_session(session_id, retention="configured")
    assert client.update_session(session_id, title="")["title"] == ""
    assert client.update_session("nobody", title="T") is client.get_session("nobody") is None


async def test_two_editors_can_not_overwrite_each_other_unseen(client: OblixClient) -> None:
    session_id = await client.create_session("Old")
    etag = client.get_session(session_id)["etag"]
    client.update_session(session_id, title="Mine", etag=etag)
    with pytest.raises(AbortedError) as caught:
        client.update_session(session_id, title="Theirs", etag=etag)
    assert caught.value.reason == "ETAG_MISMATCH"
    assert client.get_session(session_id)["title"] == "Mine"


@pytest.mark.parametrize(
    "arguments",
    [
        {"retention": {"action": "archive"}},
        {"retention": {"days": 40_000}},
        {"retention": {"days": 1, "action": "forget"}},
        {"title": 7},
        {"metadata": [1]},
    ],
)
async def test_an_update_that_makes_no_sense_is_refused_before_it_is_sent(
    client: OblixClient, arguments: dict
) -> None:
    with pytest.raises(InvalidArgumentError):
        client.update_session("any", **arguments)


async def test_a_fork_ends_at_a_message(client: OblixClient) -> None:
    session_id = await _with_messages(client, 3)
    messages = client.load_session(session_id)["messages"]
    for up_to, count in [(messages[1]["id"], 2), (1, 1), (None, 3)]:
        fork = await client.fork_session(session_id, up_to, use_immediately=True)
        assert client.current_session_id == fork
        assert client.load_session(fork)["messages"] == messages[:count]
        assert client.get_session(fork)["parent_id"] == session_id
    named = await client.fork_session(session_id, new_title="Fork")
    assert client.get_session(named)["title"] == "Fork"


async def test_a_fork_at_nothing_is_refused(client: OblixClient) -> None:
    session_id = await _with_messages(client, 1)
    with pytest.raises(NotFoundError) as caught:
        await client.fork_session(session_id, "nothing")
    assert caught.value.reason == "MESSAGE_NOT_FOUND"
    for place in (0, -1, 2):
        with pytest.raises(InvalidArgumentError):
            await client.fork_session(session_id, place)


async def test_an_empty_filter_prunes_nothing_and_none_is_left_out(client: OblixClient) -> None:
    made = await client.create_session("Keep me")
    with pytest.raises(InvalidArgumentError) as caught:
        await client.prune_sessions(1, "delete", {})
    assert caught.value.reason == "FILTER_EMPTY"
    assert (await client.prune_sessions(1, "delete")).total_count == 0
    assert client.get_session(made) is not None


async def test_a_prune_says_what_it_would_do(client: OblixClient) -> None:
    made = await client.create_session(metadata={"test": "prune"})
    report = await client.prune_sessions(1, "delete", {"test": "prune"}, dry_run=True)
    assert (report.sessions, report.total_count) == ([], 0)
    assert (await client.prune_sessions()).total_count == 0
    assert client.get_session(made) is not None
    for days, action in [(0, "archive"), (-1, "archive"), (True, "archive"), (1, "forget")]:
        with pytest.raises(InvalidArgumentError):
            await client.prune_sessions(days, action)
