"""Executions from the prompt to the record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from oblix.testing import Answer, Cut, OllamaServer, Refuse, Stall
from oblix.v1 import executions_pb2, messages_pb2, sessions_pb2
from support.drivers.events import all_of, error_of, text_of, until
from support.drivers.execution import Harness, prompt

from oblixd.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OblixdError,
    UnavailableError,
)
from oblixd.execution.answer import TurnRecorder

USER, ASSISTANT = messages_pb2.ROLE_USER, messages_pb2.ROLE_ASSISTANT
COMPLETE = messages_pb2.MESSAGE_STATUS_COMPLETE
CANCELLED = messages_pb2.MESSAGE_STATUS_CANCELLED
FAILED = messages_pb2.MESSAGE_STATUS_FAILED
INTERRUPTED = messages_pb2.MESSAGE_STATUS_INTERRUPTED


async def test_a_turn_is_answered_recorded_and_explained(harness: Harness, server: OllamaServer) -> None:
    session = await harness.session()
    server.script(Answer("Paris.", input_tokens=12))
    events = await all_of(
        harness.executions.execute(prompt("Capital of France?", harness.hook(server), session_id=session))
    )
    assert [event.WhichOneof("event") for event in events][0 :: len(events) - 1] == ["started", "completed"]
    completed = events[-1].completed
    assert (text_of(events), completed.message.parts[0].text) == ("Paris.", "Paris.")
    assert (completed.finish_reason, completed.message.model) == (
        executions_pb2.FINISH_REASON_STOP,
        "ollama:llama2",
    )
    assert completed.message.usage.input_tokens == 12
    assert completed.message.timings.HasField("time_to_first_token")
    assert events[0].started.decision.model == "ollama:llama2"
    assert events[0].started.decision.candidates[0].reason
    assert harness.messages_of(session) == [
        (USER, "Capital of France?", COMPLETE),
        (ASSISTANT, "Paris.", COMPLETE),
    ]


async def test_the_history_and_the_system_message_go_to_the_model(
    harness: Harness, server: OllamaServer
) -> None:
    header = sessions_pb2.Session()
    header.context.update({"system": "Be brief.", "secret": "not for models"})
    session = (await harness.sessions.create(header)).id
    handle = harness.hook(server)
    for question in ("One?", "Two?"):
        await all_of(harness.executions.execute(prompt(question, handle, session_id=session)))
    sent = server.requests[-1].body["messages"]
    assert [(message["role"], message["content"]) for message in sent] == [
        ("system", "Be brief."),
        ("user", "One?"),
        ("assistant", "You said: One?"),
        ("user", "Two?"),
    ]
    assert "not for models" not in str(server.requests[-1].body)


async def test_without_a_session_nothing_is_recorded(harness: Harness, server: OllamaServer) -> None:
    events = await all_of(harness.executions.execute(prompt("Hi", harness.hook(server))))
    assert text_of(events) == "You said: Hi"
    assert harness.sessions.count() == 0


async def test_turns_of_a_session_queue_and_see_each_other(harness: Harness, server: OllamaServer) -> None:
    session, handle = await harness.session(), harness.hook(server)
    server.script(Answer("slow", fault=Stall(after=1)))
    first = harness.executions.execute(prompt("1", handle, session_id=session, request_id="first"))
    await until(first, "delta")
    second = harness.executions.execute(prompt("2", handle, session_id=session))
    assert (await until(second, "queued")).queued.place == 1
    third = harness.executions.execute(prompt("3", handle, session_id=session, request_id="third"))
    assert (await until(third, "queued")).queued.place == 2
    await harness.executions.cancel("first")
    assert text_of(await all_of(second)) == "You said: 2"
    await all_of(third)
    assert [text for role, text, _ in harness.messages_of(session) if role == USER] == ["1", "2", "3"]
    sent = [message["content"] for message in server.requests[-1].body["messages"]]
    assert sent[-3:] == ["2", "You said: 2", "3"]
    await first.aclose()


async def test_a_cancel_frees_the_model_and_keeps_the_part(harness: Harness, server: OllamaServer) -> None:
    session = await harness.session()
    server.script(Answer("one two three", fault=Stall(after=2)))
    request = prompt("Count", harness.hook(server), session_id=session, request_id="r")
    stream = harness.executions.execute(request)
    await until(stream, "delta")
    assert (await harness.executions.cancel("r")).state == executions_pb2.EXECUTION_STATE_CANCELLED
    end = await until(stream, "completed")
    assert end.completed.finish_reason == executions_pb2.FINISH_REASON_CANCELLED
    assert harness.messages_of(session)[1][0::2] == (ASSISTANT, CANCELLED)
    assert harness.messages_of(session)[1][1].startswith("one")
    assert await asyncio.to_thread(server.requests[0].abandoned.wait, 60)


async def test_the_last_listener_that_goes_cancels_unless_it_asked_to_go_on(
    harness: Harness, server: OllamaServer
) -> None:
    session, handle = await harness.session(), harness.hook(server)
    server.script(Answer("a b", fault=Stall(after=1)), Answer("a b c", tokens_per_second=50))
    leaving = harness.executions.execute(prompt("1", handle, session_id=session))
    await until(leaving, "delta")
    await leaving.aclose()
    staying = harness.executions.execute(
        prompt(
            "2",
            handle,
            session_id=session,
            request_id="on",
            on_disconnect=executions_pb2.ON_DISCONNECT_CONTINUE,
        )
    )
    await until(staying, "started")
    await staying.aclose()
    assert text_of(await all_of(harness.executions.attach("on", 0))) == "a b c"
    assert [status for _, _, status in harness.messages_of(session)] == [
        COMPLETE,
        CANCELLED,
        COMPLETE,
        COMPLETE,
    ]


async def test_the_same_request_id_attaches_and_another_request_is_refused(
    harness: Harness, server: OllamaServer
) -> None:
    request = prompt("Hi", harness.hook(server), request_id="once")
    first = await all_of(harness.executions.execute(request))
    again = await all_of(harness.executions.execute(request))
    assert text_of(first) == text_of(again)
    assert len(server.requests) == 1
    error = await error_of(harness.executions.execute(prompt("Other", request_id="once")), AlreadyExistsError)
    assert error.reason == "REQUEST_ID_REUSED"


async def test_an_unreachable_model_is_named_and_the_question_is_kept(harness: Harness) -> None:
    with OllamaServer(["llama2"]) as server:
        url = server.url
    session = await harness.session()
    stream = harness.executions.execute(prompt("Hi", harness.hook_at(url), session_id=session))
    error = await error_of(stream, UnavailableError)
    assert error.reason == "MODEL_UNREACHABLE"
    assert url in error.message
    assert error.metadata["session_id"] == session
    assert harness.messages_of(session) == [(USER, "Hi", COMPLETE)]
    assert not harness.sessions.get(session).running_request_id


async def test_before_the_first_content_the_next_model_answers(
    harness: Harness, server: OllamaServer
) -> None:
    with OllamaServer(["llama2"]) as other:
        other.script(Answer("never", fault=Refuse(500)))
        candidates = (harness.hook(other), harness.hook(server))
        events = await all_of(harness.executions.execute(prompt("Hi", *candidates)))
    assert text_of(events) == "You said: Hi"
    assert [failed.reason for failed in events[-1].completed.failed_attempts] == ["MODEL_FAILED"]


async def test_an_answer_that_breaks_off_is_an_error_and_its_part_is_kept(
    harness: Harness, server: OllamaServer
) -> None:
    session = await harness.session()
    server.script(Answer("one two three", fault=Cut(after=2)))
    with OllamaServer(["llama2"]) as other:
        candidates = (harness.hook(server), harness.hook(other))
        stream = harness.executions.execute(prompt("Count", *candidates, session_id=session))
        error = await error_of(stream, UnavailableError)
        assert not other.requests
    assert error.metadata["kept_bytes"] == str(len("one two"))
    assert harness.messages_of(session)[1] == (ASSISTANT, "one two", FAILED)


async def test_a_drain_keeps_what_could_not_finish_as_interrupted(
    harness: Harness, server: OllamaServer
) -> None:
    session = await harness.session()
    server.script(Answer("one two", fault=Stall(after=1)))
    stream = harness.executions.execute(prompt("Count", harness.hook(server), session_id=session))
    await until(stream, "delta")
    await harness.executions.drain(0)
    assert (await error_of(stream, UnavailableError)).reason == "EXECUTION_INTERRUPTED"
    assert harness.messages_of(session)[1] == (ASSISTANT, "one", INTERRUPTED)
    error = await error_of(harness.executions.execute(prompt("More")), UnavailableError)
    assert error.reason == "DAEMON_STOPPING"


async def test_deleting_the_session_cancels_its_turn(harness: Harness, server: OllamaServer) -> None:
    session = await harness.session()
    server.script(Answer("one two", fault=Stall(after=1)))
    stream = harness.executions.execute(prompt("Count", harness.hook(server), session_id=session))
    await until(stream, "delta")
    await harness.sessions.delete(session)
    assert (
        await until(stream, "completed")
    ).completed.finish_reason == executions_pb2.FINISH_REASON_CANCELLED
    assert await asyncio.to_thread(server.requests[0].abandoned.wait, 60)


async def _purge(harness: Harness, session: str) -> None:
    await harness.sessions.delete(session, purge=True)


async def _delete_the_answer(harness: Harness, session: str) -> None:
    await harness.sessions.delete_messages(sessions_pb2.DeleteMessagesRequest(session_id=session, last=1))


@pytest.mark.parametrize(
    ("remove", "reason"), [(_purge, "EXECUTION_NOT_FOUND"), (_delete_the_answer, "ANSWER_DELETED")]
)
async def test_a_deleted_answer_is_dropped_from_memory(
    harness: Harness, server: OllamaServer, remove: Callable[..., Awaitable[None]], reason: str
) -> None:
    session = await harness.session()
    request = prompt("Secret", harness.hook(server), session_id=session, request_id="mine")
    await all_of(harness.executions.execute(request))
    await remove(harness, session)
    assert (await error_of(harness.executions.attach("mine", 0), OblixdError)).reason == reason
    assert harness.executions.list("") == []
    assert harness.executions.memory.total_bytes == 0


async def test_a_turn_whose_session_is_purged_is_told_to_who_listens_and_forgotten(
    harness: Harness, server: OllamaServer
) -> None:
    session = await harness.session()
    server.script(Answer("one two", fault=Stall(after=1)))
    request = prompt("Count", harness.hook(server), session_id=session, request_id="mine")
    stream = harness.executions.execute(request)
    await until(stream, "delta")
    await harness.sessions.delete(session, purge=True)
    ended = (await until(stream, "completed")).completed
    assert ended.finish_reason == executions_pb2.FINISH_REASON_CANCELLED
    await error_of(harness.executions.attach("mine", 0), NotFoundError)
    assert harness.executions.memory.total_bytes == 0


async def test_a_local_only_session_refuses_the_cloud(harness: Harness, server: OllamaServer) -> None:
    session, handle = await harness.session(local_only=True), harness.hook(server, "big-cloud")
    stream = harness.executions.execute(prompt("Hi", handle, session_id=session, model="ollama:big-cloud"))
    error = await error_of(stream, FailedPreconditionError)
    assert error.reason == "NO_MODEL_ALLOWED"
    assert not server.requests
    assert harness.messages_of(session) == []


@pytest.mark.parametrize(
    ("request_", "kind", "reason"),
    [
        (executions_pb2.ExecuteRequest(), InvalidArgumentError, "INVALID_REQUEST"),
        (prompt("  \n"), InvalidArgumentError, "INVALID_REQUEST"),
        (prompt("Hi", request_id="ä"), InvalidArgumentError, "INVALID_REQUEST"),
        (
            prompt("Hi", options=executions_pb2.GenerationOptions(temperature=3)),
            InvalidArgumentError,
            "INVALID_REQUEST",
        ),
        (
            prompt("Hi", options=executions_pb2.GenerationOptions(top_p=float("nan"))),
            InvalidArgumentError,
            "INVALID_REQUEST",
        ),
        (prompt("Hi", "no-such-handle"), FailedPreconditionError, "HANDLE_UNKNOWN"),
        (prompt("Hi", session_id="nobody"), NotFoundError, "SESSION_NOT_FOUND"),
        (prompt("Hi"), FailedPreconditionError, "NO_MODEL_ALLOWED"),
    ],
)
async def test_a_bad_request_is_refused_before_anything_is_done(
    harness: Harness, request_: executions_pb2.ExecuteRequest, kind: type[OblixdError], reason: str
) -> None:
    assert (await error_of(harness.executions.execute(request_), kind)).reason == reason
    assert harness.sessions.count() == 0


async def test_a_defect_is_told_logged_and_recorded(
    harness: Harness, server: OllamaServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = await harness.session()
    monkeypatch.setattr(TurnRecorder, "take", lambda *_: 1 // 0)
    request = prompt("Hi", harness.hook(server), session_id=session)
    error = await error_of(harness.executions.execute(request), InternalError)
    assert (error.reason, "The log has the details" in error.message) == ("INTERNAL", True)
    assert "ZeroDivisionError" in caplog.text
    [execution] = harness.executions.list(session)
    assert execution.state == executions_pb2.EXECUTION_STATE_FAILED
    assert harness.sessions.recorded_turn(execution.request_id).completion.error.reason == "INTERNAL"


async def test_explain_decides_and_does_nothing_else(harness: Harness, server: OllamaServer) -> None:
    decision = harness.executions.explain(prompt("Hi", harness.hook(server)))
    assert (decision.model, decision.rule) == ("ollama:llama2", "ALL_WELL")
    assert not server.requests
    assert harness.executions.list("") == []
