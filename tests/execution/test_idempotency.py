"""The same request is one call, one turn and one bill, also after the daemon was restarted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from oblix.testing import Answer, Cut, OllamaServer, Refuse, Stall
from oblix.v1 import executions_pb2, messages_pb2
from support.drivers.events import all_of, error_of, text_of, until
from support.drivers.execution import Harness, harness_in, prompt

from oblixd.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    OblixdError,
    UnavailableError,
)

COMPLETE = messages_pb2.MESSAGE_STATUS_COMPLETE
INTERRUPTED = messages_pb2.MESSAGE_STATUS_INTERRUPTED


async def test_after_a_restart_the_answer_is_told_again(tmp_path: Path, server: OllamaServer) -> None:
    server.script(Answer("one two three", reasoning="Hm.", input_tokens=7))
    async with harness_in(tmp_path) as harness:
        session = await harness.session()
        first = await all_of(harness.executions.execute(ask(harness, server, session)))
    async with harness_in(tmp_path) as harness:
        again = await all_of(harness.executions.execute(ask(harness, server, session)))
        attached = await all_of(harness.executions.attach("mine", len(b"Hm.one")))
        summary = await harness.executions.cancel("mine")
        assert len(harness.messages_of(session)) == 2
    assert text_of(again) == text_of(first) == "Hm.one two three"
    assert again[-1].completed == first[-1].completed
    assert again[0].started.decision == first[0].started.decision
    assert text_of(attached) == " two three"
    assert (summary.state, summary.delta_bytes) == (
        executions_pb2.EXECUTION_STATE_COMPLETED,
        len("Hm.one two three"),
    )
    assert len(server.requests) == 1


@pytest.mark.parametrize("failing", [Refuse(404), Cut(after=2)], ids=["nothing came", "a part came"])
async def test_a_failure_is_told_again_word_for_word(
    tmp_path: Path, server: OllamaServer, failing: Refuse | Cut
) -> None:
    server.script(*[Answer("one two three", fault=failing)] * 3)
    async with harness_in(tmp_path) as harness:
        session = await harness.session()
        first = await failure_of(harness, ask(harness, server, session))
    calls = len(server.requests)
    async with harness_in(tmp_path) as harness:
        again = await failure_of(harness, ask(harness, server, session))
    assert again == first
    assert len(server.requests) == calls


async def test_a_turn_that_the_daemons_end_cut_off_is_reported_and_not_run_again(
    tmp_path: Path, server: OllamaServer
) -> None:
    server.script(Answer("one two three", fault=Stall(after=2)))
    async with harness_in(tmp_path) as harness:
        session = await harness.session()
        async with aclosing(harness.executions.execute(ask(harness, server, session))) as events:
            await until(events, "delta")
            await harness.executions.drain(0)
    async with harness_in(tmp_path) as harness:
        events = harness.executions.execute(ask(harness, server, session))
        assert (await anext(events)).started.session_id == session
        part = (await anext(events)).delta.text
        error = await error_of(events, UnavailableError)
        assert harness.messages_of(session)[1:] == [(messages_pb2.ROLE_ASSISTANT, part, INTERRUPTED)]
        # Who had read more than was on disk when the daemon died hears the same.
        attached = await error_of(harness.executions.attach("mine", len(part) + 100), UnavailableError)
    assert attached.reason == "EXECUTION_INTERRUPTED"
    assert error.reason == "EXECUTION_INTERRUPTED"
    assert (error.metadata["session_id"], error.metadata["kept_bytes"]) == (session, str(len(part)))
    assert len(server.requests) == 1


async def test_a_cancelled_request_stays_cancelled(tmp_path: Path, server: OllamaServer) -> None:
    server.script(Answer("one two three", fault=Stall(after=2)))
    async with harness_in(tmp_path) as harness:
        session = await harness.session()
        async with aclosing(harness.executions.execute(ask(harness, server, session))) as events:
            await until(events, "delta")
            await harness.executions.cancel("mine")
    async with harness_in(tmp_path) as harness:
        *_, last = await all_of(harness.executions.execute(ask(harness, server, session)))
    assert last.completed.finish_reason == executions_pb2.FINISH_REASON_CANCELLED


async def another_prompt(
    harness: Harness, server: OllamaServer, session: str
) -> executions_pb2.ExecuteRequest:
    return prompt("Something else", harness.hook(server), session_id=session, request_id="mine")


async def another_session(harness: Harness, server: OllamaServer, _: str) -> executions_pb2.ExecuteRequest:
    return ask(harness, server, await harness.session())


async def no_session(harness: Harness, server: OllamaServer, _: str) -> executions_pb2.ExecuteRequest:
    return prompt("Hi", harness.hook(server), request_id="mine")


@pytest.mark.parametrize("other", [another_prompt, another_session, no_session])
async def test_an_id_is_never_used_for_two_requests(
    tmp_path: Path, server: OllamaServer, other: Callable[..., object]
) -> None:
    async with harness_in(tmp_path) as harness:
        session = await harness.session()
        await all_of(harness.executions.execute(ask(harness, server, session)))
    async with harness_in(tmp_path) as harness:
        request = await other(harness, server, session)
        error = await error_of(harness.executions.execute(request), AlreadyExistsError)
    assert error.reason == "REQUEST_ID_REUSED"


async def test_an_unknown_request_id_is_not_found(harness: Harness) -> None:
    assert (await error_of(harness.executions.attach("nobody", 0), NotFoundError)).reason
    with pytest.raises(NotFoundError):
        await harness.executions.cancel("nobody")
    await error_of(harness.executions.attach("é", 0), InvalidArgumentError)


def ask(harness: Harness, server: OllamaServer, session: str) -> executions_pb2.ExecuteRequest:
    return prompt("Hi", harness.hook(server), session_id=session, request_id="mine")


async def failure_of(
    harness: Harness, request: executions_pb2.ExecuteRequest
) -> tuple[str, str, dict[str, str], str]:
    said = ""
    try:
        async for event in harness.executions.execute(request):
            said += event.delta.text
    except OblixdError as error:
        return type(error).__name__, error.reason, error.metadata, said
    raise AssertionError("it did not fail")
