"""A session's routing policy: kept by name, wherever the session goes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from oblix.v1.sessions_pb2 import ImportHeader, ImportSessionsRequest, Session

from oblixd.errors import InvalidArgumentError
from oblixd.sessions import Sessions


async def _make(sessions: Sessions, policy: str) -> Session:
    return await sessions.create(Session(routing_policy=policy))


async def test_it_is_there_until_it_is_changed(sessions: Sessions) -> None:
    made = await _make(sessions, "private")
    assert sessions.get(made.id).routing_policy == "private"
    await sessions.update(Session(id=made.id, title="t"), [])
    assert sessions.get(made.id).routing_policy == "private"
    for policy in ("fastest", ""):
        changed = await sessions.update(Session(id=made.id, routing_policy=policy), ["routing_policy"])
        assert sessions.get(made.id).routing_policy == changed.routing_policy == policy
    merged = await sessions.update(Session(id=made.id, routing_policy="cheapest"), [])
    assert merged.routing_policy == "cheapest"


async def test_it_goes_with_copies_and_exports(sessions: Sessions) -> None:
    made = await _make(sessions, "private")
    copy = await sessions.copy(made.id, None)
    exported = [item.session async for item in sessions.export([copy.id]) if item.HasField("session")]
    assert [session.routing_policy for session in (copy, *exported)] == ["private", "private"]

    async def items() -> AsyncIterator[ImportSessionsRequest]:
        yield ImportSessionsRequest(header=ImportHeader(session=exported[0]))

    answers = [answer async for answer in sessions.import_(items())]
    assert sessions.get(answers[0].result.session.id).routing_policy == "private"


@pytest.mark.parametrize(("policies", "kept"), [(["a", "a"], "a"), (["a", "b"], ""), (["a", ""], "")])
async def test_a_merge_keeps_what_all_agree_on(sessions: Sessions, policies: list[str], kept: str) -> None:
    made = [await _make(sessions, policy) for policy in policies]
    merged = await sessions.merge([session.id for session in made], None)
    assert merged.routing_policy == kept


async def test_a_name_that_is_too_long_is_refused(sessions: Sessions) -> None:
    made = await _make(sessions, "x" * 64)
    with pytest.raises(InvalidArgumentError):
        await sessions.update(Session(id=made.id, routing_policy="x" * 65), ["routing_policy"])
    with pytest.raises(InvalidArgumentError) as caught:
        await _make(sessions, "x" * 65)
    assert caught.value.reason == "POLICY_NAME_TOO_LONG"
