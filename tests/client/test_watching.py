"""Live updates in Python."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from oblix import (
    InvalidArgumentError,
    OblixClient,
    SessionChanged,
    SessionRemoved,
    Synced,
)


async def test_changes_by_another_program_are_seen(client: OblixClient) -> None:
    wanted = {"test": "watch"}
    first = await client.create_session("First", metadata=wanted)
    other = OblixClient()
    async with asyncio.timeout(60), aclosing(client.watch(filter_metadata=wanted)) as changes:
        change = await anext(changes)
        assert isinstance(change, SessionChanged)
        assert change.session == client.get_session(first)
        assert isinstance(await anext(changes), Synced)
        await other.create_session("not for us")
        second = await other.create_session("Second", metadata=wanted)
        change = await anext(changes)
        assert isinstance(change, SessionChanged)
        assert (change.session["id"], change.session["message_count"]) == (second, 0)
        other.session_manager.save_message(second, "hello")
        change = await anext(changes)
        assert isinstance(change, SessionChanged)
        assert change.session["message_count"] == 1
        other.delete_session(first)
        change = await anext(changes)
        assert isinstance(change, SessionRemoved)
        assert change.session_id == first
        revision = change.revision
    other.update_session(second, archived=True)
    async with (
        asyncio.timeout(60),
        aclosing(client.watch(filter_metadata=wanted, from_revision=revision)) as changes,
    ):
        assert [type(await anext(changes)) for _ in range(2)] == [SessionRemoved, Synced]


@pytest.mark.parametrize("revision", [-1, 10**9, "1", True])
async def test_a_revision_that_never_was_is_refused(client: OblixClient, revision: object) -> None:
    with pytest.raises(InvalidArgumentError, match="from_revision"):
        await anext(client.watch(from_revision=revision))
