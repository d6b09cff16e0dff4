"""How long an execution may take, and what one does that must not wait."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from google.protobuf.duration_pb2 import Duration
from oblix.testing import Answer, OllamaServer, Refuse, Stall
from oblix.v1 import executions_pb2, messages_pb2
from support.drivers.events import all_of, error_of, text_of, until
from support.drivers.execution import Harness, prompt

from oblixd.errors import (
    AbortedError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    UnavailableError,
)
from oblixd.execution.services import ClientInfo

USER, ASSISTANT = messages_pb2.ROLE_USER, messages_pb2.ROLE_ASSISTANT
COMPLETE, FAILED = messages_pb2.MESSAGE_STATUS_COMPLETE, messages_pb2.MESSAGE_STATUS_FAILED
SOON = Duration(nanos=50_000_000)
LONGER_AND_LONGER = (0.05, 0.5, 5.0, 30.0)
"""Seconds. On a busy machine the first may be over before the first token came."""


@pytest.mark.parametrize("seconds", [0, -1, 86_401])
async def test_a_timeout_out_of_range_is_refused(
    harness: Harness, server: OllamaServer, seconds: int
) -> None:
    request = prompt("Hi", harness.hook(server), timeout=Duration(seconds=seconds))
    error = await error_of(harness.executions.execute(request), InvalidArgumentError)
    assert error.metadata["field"] == "timeout"


async def test_a_timeout_strikes_before_the_first_token(harness: Harness, server: OllamaServer) -> None:
    session = await harness.session()
    server.script(Answer("late", fault=Stall()))
    request = prompt("Hi", harness.hook(server), session_id=session, timeout=SOON)
    error = await error_of(harness.executions.execute(request), DeadlineExceededError)
    assert (error.reason, error.metadata["timeout_seconds"]) == ("EXECUTION_TIMED_OUT", "0.05")
    assert harness.messages_of(session) == [(USER, "Hi", COMPLETE)]


async def test_a_timeout_in_the_middle_keeps_the_part(harness: Harness, server: OllamaServer) -> None:
    for seconds in LONGER_AND_LONGER:
        session = await harness.session()
        server.script(Answer("One two three", fault=Stall(after=2)))
        request = prompt(
            "One two three",
            harness.hook(server),
            session_id=session,
            timeout=Duration(nanos=int(seconds * 1e9) % 10**9, seconds=int(seconds)),
        )
        error = await error_of(harness.executions.execute(request), DeadlineExceededError)
        if len(harness.messages_of(session)) > 1:
            break
    _, (role, part, status) = harness.messages_of(session)
    assert (role, status, error.metadata["kept_bytes"]) == (ASSISTANT, FAILED, str(len(part)))
    assert part


async def test_a_timeout_strikes_while_it_waits_for_its_turn(harness: Harness, server: OllamaServer) -> None:
    session, handle = await harness.session(), harness.hook(server)
    server.script(Answer("late", fault=Stall()))
    async with aclosing(harness.executions.execute(prompt("Long", handle, session_id=session))) as first:
        await until(first, "started")
        waiting = harness.executions.execute(prompt("Hi", handle, session_id=session, timeout=SOON))
        await error_of(waiting, DeadlineExceededError)
    assert [text for _, text, _ in harness.messages_of(session)] == ["Long"]


async def test_one_that_does_not_wait_is_told_at_once(harness: Harness, server: OllamaServer) -> None:
    session, handle = await harness.session(), harness.hook(server)
    request = prompt(
        "Hi", handle, session_id=session, when_busy=executions_pb2.WHEN_BUSY_FAIL, request_id="mine"
    )
    server.script(Answer("one two", fault=Stall(after=1)))
    long = prompt("Long", handle, session_id=session, request_id="long")
    async with aclosing(harness.executions.execute(long)) as first:
        await until(first, "delta")
        error = await error_of(harness.executions.execute(request), AbortedError)
        assert (error.reason, error.metadata["turns"]) == ("SESSION_BUSY", "1")
        await harness.executions.cancel("long")
    # It left nothing behind, so the same request may be sent once more.
    assert text_of(await all_of(harness.executions.execute(request)))


async def test_a_request_that_failed_before_its_turn_can_be_sent_again(
    harness: Harness, server: OllamaServer
) -> None:
    session = await harness.session(local_only=True)
    request = prompt("Hi", session_id=session, request_id="mine")
    await error_of(harness.executions.execute(request), FailedPreconditionError)
    request.candidates.append(harness.hook(server))
    assert text_of(await all_of(harness.executions.execute(request)))


async def test_the_same_prompt_from_a_program_that_hooked_again_is_the_same(
    harness: Harness, server: OllamaServer
) -> None:
    handles = harness.hook(server), harness.hook(server, "other")
    requests = [prompt("Hi", handle, request_id="mine") for handle in handles]
    answers = [await all_of(harness.executions.execute(request)) for request in requests]
    assert text_of(answers[0]) == text_of(answers[1])
    assert len(server.requests) == 1


async def test_a_list_tells_who_asked_what_and_how_it_ended(harness: Harness, server: OllamaServer) -> None:
    server.script(*[Answer("never", fault=Refuse(500))] * 3)
    request = prompt(
        "Tell me\nall about " + "x" * 200, harness.hook(server), priority=executions_pb2.PRIORITY_BACKGROUND
    )
    await error_of(harness.executions.execute(request, ClientInfo("random", "editor/7")), UnavailableError)
    (listed,) = harness.executions.list("")
    assert (listed.client, listed.priority) == ("editor/7", executions_pb2.PRIORITY_BACKGROUND)
    assert listed.prompt_excerpt == ("Tell me all about " + "x" * 200)[:80]
    assert (listed.state, listed.error_reason) == (executions_pb2.EXECUTION_STATE_FAILED, "MODEL_FAILED")
    assert listed.end_time.ToNanoseconds() >= listed.create_time.ToNanoseconds()
