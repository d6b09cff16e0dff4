"""A question is answered anew: in the old answer's place, which stays as a version."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from oblix.testing import Answer, OllamaServer, Refuse, Stall
from oblix.v1 import executions_pb2, messages_pb2
from oblix.v1.sessions_pb2 import DeleteMessagesRequest, EditMessageRequest, ListMessageVersionsRequest
from support.drivers.conversations import all_messages, say, text_of, texts
from support.drivers.events import all_of, error_of, until
from support.drivers.events import text_of as told
from support.drivers.execution import Harness, harness_in, prompt

from oblixd.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OblixdError,
)

ASSISTANT, COMPLETE = messages_pb2.ROLE_ASSISTANT, messages_pb2.MESSAGE_STATUS_COMPLETE


def again(
    harness: Harness, server: OllamaServer, session: str, message: str, **fields: object
) -> executions_pb2.ExecuteRequest:
    return executions_pb2.ExecuteRequest(
        session_id=session, regenerate_message_id=message, candidates=[harness.hook(server)], **fields
    )


async def ask(
    harness: Harness, server: OllamaServer, session: str, text: str = "Why?", **fields: object
) -> str:
    """Asks, and returns the answer's id."""
    request = prompt(text, harness.hook(server), session_id=session, **fields)
    return (await all_of(harness.executions.execute(request)))[-1].completed.message.id


def older(harness: Harness, session: str, sequence: int) -> list[str]:
    request = ListMessageVersionsRequest(session_id=session, sequence=sequence)
    return texts(list(harness.sessions.message_versions(request).messages))


def context_texts(server: OllamaServer) -> list[str]:
    """The texts of the last context that the server got."""
    return [message["content"] for message in server.requests[-1].body["messages"]]


async def test_the_new_answer_takes_the_place_of_the_old_one(harness: Harness, server: OllamaServer) -> None:
    server.script("Hi.", "first", "second")
    session = await harness.session()
    await ask(harness, server, session, "Hello")
    answer = await ask(harness, server, session)
    before = harness.sessions.get(session)
    events = await all_of(
        harness.executions.execute(again(harness, server, session, answer, request_id="new"))
    )
    question, renewed = all_messages(harness.sessions, session)[2:]
    assert told(events) == text_of(renewed) == "second"
    assert (renewed.id, renewed.sequence, renewed.version, renewed.request_id) == (answer, 4, 1, "new")
    assert events[-1].completed.message == renewed
    assert list(events[0].started.message_ids) == [question.id]
    assert context_texts(server) == ["Hello", "Hi.", "Why?"]
    assert older(harness, session, 4) == ["first"]
    assert harness.sessions.get(session).message_count == before.message_count == 4
    assert harness.sessions.get(session).update_time.ToNanoseconds() > before.update_time.ToNanoseconds()


@pytest.mark.parametrize("named", ["question", "answer"])
async def test_the_question_can_be_named_as_well(harness: Harness, server: OllamaServer, named: str) -> None:
    server.script("first", "second", "third")
    session = await harness.session()
    await ask(harness, server, session)
    for version in (1, 2):
        question, answer = all_messages(harness.sessions, session)
        target = {"question": question.id, "answer": answer.id}[named]
        await all_of(harness.executions.execute(again(harness, server, session, target)))
        assert all_messages(harness.sessions, session)[1].version == version
    assert older(harness, session, 2) == ["second", "first"]


async def test_a_question_whose_turn_failed_gets_its_answer_at_the_end(
    harness: Harness, server: OllamaServer
) -> None:
    server.script(Answer("x", fault=Refuse(404)), "at last")
    session = await harness.session()
    await error_of(
        harness.executions.execute(prompt("Why?", harness.hook(server), session_id=session)), OblixdError
    )
    (question,) = all_messages(harness.sessions, session)
    await all_of(harness.executions.execute(again(harness, server, session, question.id)))
    assert harness.messages_of(session)[1:] == [(ASSISTANT, "at last", COMPLETE)]
    assert all_messages(harness.sessions, session)[1].version == 0
    assert context_texts(server) == ["Why?"]


async def test_an_edited_question_is_answered_as_it_is_now(harness: Harness, server: OllamaServer) -> None:
    server.script("first", "second")
    session = await harness.session()
    answer = await ask(harness, server, session)
    parts = [messages_pb2.Part(text="Why not?")]
    await harness.sessions.edit_message(EditMessageRequest(session_id=session, sequence=1, parts=parts))
    await all_of(harness.executions.execute(again(harness, server, session, answer)))
    assert context_texts(server) == ["Why not?"]


@pytest.mark.parametrize("fault", [Refuse(404), Refuse(400)])
async def test_where_nothing_new_comes_the_old_answer_stays(
    harness: Harness, server: OllamaServer, fault: Refuse
) -> None:
    server.script("first", *[Answer("x", fault=fault)] * 3)
    session = await harness.session()
    answer = await ask(harness, server, session)
    before = all_messages(harness.sessions, session)
    await error_of(harness.executions.execute(again(harness, server, session, answer)), OblixdError)
    assert all_messages(harness.sessions, session) == before
    assert older(harness, session, 2) == []


async def test_a_cancelled_part_is_the_new_version(harness: Harness, server: OllamaServer) -> None:
    server.script("first", Answer("one two three", fault=Stall(after=2)))
    session = await harness.session()
    answer = await ask(harness, server, session)
    request = again(harness, server, session, answer, request_id="new")
    async with aclosing(harness.executions.execute(request)) as events:
        await until(events, "delta")
        await harness.executions.cancel("new")
    _, renewed = all_messages(harness.sessions, session)
    assert (renewed.status, renewed.version) == (messages_pb2.MESSAGE_STATUS_CANCELLED, 1)
    assert older(harness, session, 2) == ["first"]
    await harness.sessions.edit_message(EditMessageRequest(session_id=session, sequence=2, restore_version=0))
    assert harness.messages_of(session)[1] == (ASSISTANT, "first", COMPLETE)


async def test_each_request_is_told_its_own_answer_again(tmp_path: Path, server: OllamaServer) -> None:
    server.script("first", "second")
    async with harness_in(tmp_path) as harness:
        session = await harness.session()
        answer = await ask(harness, server, session, request_id="old")
        await all_of(harness.executions.execute(again(harness, server, session, answer, request_id="new")))
        parts = [messages_pb2.Part(text="by hand")]
        await harness.sessions.edit_message(EditMessageRequest(session_id=session, sequence=2, parts=parts))
    async with harness_in(tmp_path) as harness:
        for request_id, text in (("old", "first"), ("new", "second")):
            assert told(await all_of(harness.executions.attach(request_id, 0))) == text
        repeated = await all_of(
            harness.executions.execute(again(harness, server, session, answer, request_id="new"))
        )
        assert told(repeated) == "second"
        other = again(harness, server, session, "another", request_id="new")
        await error_of(harness.executions.execute(other), AlreadyExistsError)
        await harness.sessions.delete_messages(DeleteMessagesRequest(session_id=session, from_sequence=1))
        error = await error_of(harness.executions.attach("new", 0), FailedPreconditionError)
        assert error.reason == "ANSWER_DELETED"
    assert len(server.requests) == 2


async def test_it_waits_for_its_turn_and_sees_what_stands_there_then(
    harness: Harness, server: OllamaServer
) -> None:
    server.script("first", Answer("second", fault=Stall(after=1)), "third")
    session = await harness.session()
    answer = await ask(harness, server, session)
    running = prompt("And?", harness.hook(server), session_id=session, request_id="running")
    async with aclosing(harness.executions.execute(running)) as events:
        await until(events, "delta")
        waiting = asyncio.ensure_future(
            error_of(
                harness.executions.execute(again(harness, server, session, answer)), FailedPreconditionError
            )
        )
        await harness.executions.cancel("running")
    assert (await waiting).reason == "MESSAGE_NOT_LAST"
    assert len(harness.messages_of(session)) == 4


async def test_the_results_of_the_old_answers_calls_go_with_it(
    harness: Harness, server: OllamaServer
) -> None:
    server.script("second")
    session = await harness.session()
    call = messages_pb2.Part(tool_call=messages_pb2.ToolCallPart(call_id="a", name="look"))
    result = messages_pb2.Part(tool_result=messages_pb2.ToolResultPart(call_id="a", content="seen"))
    _, answer, _ = await harness.sessions.append(
        session,
        [
            say("Why?"),
            messages_pb2.Message(role=ASSISTANT, parts=[call]),
            messages_pb2.Message(role=messages_pb2.ROLE_TOOL, parts=[result]),
        ],
    )
    await all_of(harness.executions.execute(again(harness, server, session, answer.id)))
    assert [text for _, text, _ in harness.messages_of(session)] == ["Why?", "second"]
    assert harness.sessions.get(session).message_count == 2
    assert context_texts(server) == ["Why?"]


async def test_a_message_that_cannot_be_answered_anew_is_refused(
    harness: Harness, server: OllamaServer
) -> None:
    session = await harness.session()
    greeting, *_ = await harness.sessions.append(session, [say("Hi!", ASSISTANT)])

    async def refusal(message: str) -> tuple[type[OblixdError], str]:
        with pytest.raises(OblixdError) as caught:
            await all_of(harness.executions.execute(again(harness, server, session, message)))
        return type(caught.value), caught.value.reason

    assert await refusal(greeting.id) == (FailedPreconditionError, "NOTHING_TO_ANSWER")
    assert await refusal("nobody") == (NotFoundError, "MESSAGE_NOT_FOUND")
    await harness.sessions.append(session, [say("q"), say("a", ASSISTANT), say("q"), say("a", ASSISTANT)])
    assert await refusal(greeting.id) == (FailedPreconditionError, "MESSAGE_NOT_LAST")
    await harness.sessions.append(session, [say("system", messages_pb2.ROLE_SYSTEM)])
    last = all_messages(harness.sessions, session)[-1]
    assert await refusal(last.id) == (FailedPreconditionError, "MESSAGE_NOT_LAST")
    assert len(harness.messages_of(session)) == 6
    assert not server.requests


@pytest.mark.parametrize("change", [{"session_id": ""}, {"input": [say("x")]}, {"message": "x" * 129}])
async def test_a_wrong_request_is_refused(
    harness: Harness, server: OllamaServer, change: dict[str, object]
) -> None:
    request = again(harness, server, await harness.session(), str(change.pop("message", "m")))
    request.ClearField("session_id") if "session_id" in change else request.MergeFrom(
        executions_pb2.ExecuteRequest(**change)
    )
    await error_of(harness.executions.execute(request), InvalidArgumentError)


async def test_routing_sees_the_question(harness: Harness) -> None:
    image = messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=b"\x89PNG"))
    asked = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[image])
    with OllamaServer(["llama2"], capabilities=["completion"]) as blind:
        session = await harness.session()
        await harness.registry.resolve([harness.hook(blind)])[0].connection.confirm_location()
        (question,) = await harness.sessions.append(session, [asked])
        decision = harness.executions.explain(again(harness, blind, session, question.id))
        assert [candidate.rule for candidate in decision.candidates] == ["NO_IMAGES"]
        with pytest.raises(NotFoundError):
            harness.executions.explain(again(harness, blind, session, "nobody"))


async def test_a_daemon_that_stops_before_anything_came_leaves_the_old_answer(
    tmp_path: Path, server: OllamaServer
) -> None:
    server.script("first", Answer("second", fault=Stall(after=0)))
    async with harness_in(tmp_path) as harness:
        session = await harness.session()
        answer = await ask(harness, server, session)
        before = all_messages(harness.sessions, session)
        async with aclosing(
            harness.executions.execute(again(harness, server, session, answer, request_id="new"))
        ) as events:
            await until(events, "started")
            await harness.executions.drain(0)
        assert all_messages(harness.sessions, session) == before
        error = await error_of(harness.executions.attach("new", 0), OblixdError)
        assert error.reason == "EXECUTION_INTERRUPTED"


async def test_a_question_that_was_left_out_of_contexts_is_asked_again(
    harness: Harness, server: OllamaServer
) -> None:
    server.script("first", "second", "third")
    session = await harness.session()
    answer = await ask(harness, server, session)
    await harness.sessions.exclude(session, [1], "CONTENT_REFUSED")
    await all_of(harness.executions.execute(again(harness, server, session, answer)))
    assert context_texts(server) == ["Why?"]
    await ask(harness, server, session, "And now?")
    assert context_texts(server) == ["Why?", "second", "And now?"]
    assert not any(message.HasField("exclusion") for message in all_messages(harness.sessions, session))
