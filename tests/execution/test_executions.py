"""Executions from the prompt to the record."""

from __future__ import annotations

import asyncio

import pytest
from oblix.testing import Answer, Cut, OllamaServer, Refuse, Stall
from oblix.v1 import executions_pb2 as pb
from oblix.v1 import messages_pb2, sessions_pb2
from support.events import all_of, error_of, text_of, until
from support.house import House, prompt

from oblixd.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OblixdError,
    UnavailableError,
)
from oblixd.execution.recording import Recording

USER, ASSISTANT = messages_pb2.ROLE_USER, messages_pb2.ROLE_ASSISTANT
COMPLETE = messages_pb2.MESSAGE_STATUS_COMPLETE
CANCELLED = messages_pb2.MESSAGE_STATUS_CANCELLED
FAILED = messages_pb2.MESSAGE_STATUS_FAILED
INTERRUPTED = messages_pb2.MESSAGE_STATUS_INTERRUPTED


async def test_a_turn_is_answered_recorded_and_explained(house: House, server: OllamaServer) -> None:
    session = await house.session()
    server.script(Answer("Paris.", input_tokens=12))
    events = await all_of(
        house.executions.execute(prompt("Capital of France?", house.hook(server), session_id=session))
    )
    assert [event.WhichOneof("event") for event in events][0 :: len(events) - 1] == ["started", "completed"]
    completed = events[-1].completed
    assert (text_of(events), completed.message.parts[0].text) == ("Paris.", "Paris.")
    assert (completed.finish_reason, completed.message.model) == (pb.FINISH_REASON_STOP, "ollama:llama2")
    assert completed.message.usage.input_tokens == 12
    assert completed.message.timings.HasField("time_to_first_token")
    assert events[0].started.decision.model == "ollama:llama2"
    assert events[0].started.decision.candidates[0].reason
    assert house.said(session) == [(USER, "Capital of France?", COMPLETE), (ASSISTANT, "Paris.", COMPLETE)]


async def test_the_history_and_the_system_message_go_to_the_model(house: House, server: OllamaServer) -> None:
    header = sessions_pb2.Session()
    header.context.update({"system": "Be brief.", "secret": "not for models"})
    session = (await house.sessions.create(header)).id
    handle = house.hook(server)
    for question in ("One?", "Two?"):
        await all_of(house.executions.execute(prompt(question, handle, session_id=session)))
    sent = server.requests[-1].body["messages"]
    assert [(message["role"], message["content"]) for message in sent] == [
        ("system", "Be brief."),
        ("user", "One?"),
        ("assistant", "You said: One?"),
        ("user", "Two?"),
    ]
    assert "not for models" not in str(server.requests[-1].body)


async def test_without_a_session_nothing_is_recorded(house: House, server: OllamaServer) -> None:
    events = await all_of(house.executions.execute(prompt("Hi", house.hook(server))))
    assert text_of(events) == "You said: Hi"
    assert house.sessions.count() == 0


async def test_turns_of_a_session_queue_and_see_each_other(house: House, server: OllamaServer) -> None:
    session, handle = await house.session(), house.hook(server)
    server.script(Answer("slow", fault=Stall(after=1)))
    first = house.executions.execute(prompt("1", handle, session_id=session, request_id="first"))
    await until(first, "delta")
    second = house.executions.execute(prompt("2", handle, session_id=session))
    assert (await until(second, "queued")).queued.place == 1
    third = house.executions.execute(prompt("3", handle, session_id=session, request_id="third"))
    assert (await until(third, "queued")).queued.place == 2
    await house.executions.cancel("first")
    assert text_of(await all_of(second)) == "You said: 2"
    await all_of(third)
    assert [text for role, text, _ in house.said(session) if role == USER] == ["1", "2", "3"]
    sent = [message["content"] for message in server.requests[-1].body["messages"]]
    assert sent[-3:] == ["2", "You said: 2", "3"]
    await first.aclose()


async def test_a_cancel_frees_the_model_and_keeps_the_part(house: House, server: OllamaServer) -> None:
    session = await house.session()
    server.script(Answer("one two three", fault=Stall(after=2)))
    request = prompt("Count", house.hook(server), session_id=session, request_id="r")
    stream = house.executions.execute(request)
    await until(stream, "delta")
    assert (await house.executions.cancel("r")).state == pb.EXECUTION_STATE_CANCELLED
    end = await until(stream, "completed")
    assert end.completed.finish_reason == pb.FINISH_REASON_CANCELLED
    assert house.said(session)[1][0::2] == (ASSISTANT, CANCELLED)
    assert house.said(session)[1][1].startswith("one")
    assert await asyncio.to_thread(server.requests[0].abandoned.wait, 5)


async def test_the_last_listener_that_goes_cancels_unless_it_asked_to_go_on(
    house: House, server: OllamaServer
) -> None:
    session, handle = await house.session(), house.hook(server)
    server.script(Answer("a b", fault=Stall(after=1)), Answer("a b c", tokens_per_second=50))
    leaving = house.executions.execute(prompt("1", handle, session_id=session))
    await until(leaving, "delta")
    await leaving.aclose()
    staying = house.executions.execute(
        prompt("2", handle, session_id=session, request_id="on", on_disconnect=pb.ON_DISCONNECT_CONTINUE)
    )
    await until(staying, "started")
    await staying.aclose()
    assert text_of(await all_of(house.executions.attach("on", 0))) == "a b c"
    assert [status for _, _, status in house.said(session)] == [COMPLETE, CANCELLED, COMPLETE, COMPLETE]


async def test_the_same_request_id_attaches_and_another_request_is_refused(
    house: House, server: OllamaServer
) -> None:
    request = prompt("Hi", house.hook(server), request_id="once")
    first = await all_of(house.executions.execute(request))
    again = await all_of(house.executions.execute(request))
    assert text_of(first) == text_of(again)
    assert len(server.requests) == 1
    error = await error_of(house.executions.execute(prompt("Other", request_id="once")), AlreadyExistsError)
    assert error.reason == "REQUEST_ID_REUSED"


async def test_an_unreachable_model_is_named_and_the_question_is_kept(house: House) -> None:
    with OllamaServer(["llama2"]) as server:
        url = server.url
    session = await house.session()
    stream = house.executions.execute(prompt("Hi", house.hook_at(url), session_id=session))
    error = await error_of(stream, UnavailableError)
    assert error.reason == "MODEL_UNREACHABLE"
    assert url in error.message
    assert error.metadata["session_id"] == session
    assert house.said(session) == [(USER, "Hi", COMPLETE)]
    assert not house.sessions.get(session).running_request_id


async def test_before_the_first_content_the_next_model_answers(house: House, server: OllamaServer) -> None:
    with OllamaServer(["llama2"]) as other:
        other.script(Answer("never", fault=Refuse(500)))
        candidates = (house.hook(other), house.hook(server))
        events = await all_of(house.executions.execute(prompt("Hi", *candidates)))
    assert text_of(events) == "You said: Hi"
    assert [failed.reason for failed in events[-1].completed.failed_attempts] == ["MODEL_FAILED"]


async def test_an_answer_that_breaks_off_is_an_error_and_its_part_is_kept(
    house: House, server: OllamaServer
) -> None:
    session = await house.session()
    server.script(Answer("one two three", fault=Cut(after=2)))
    with OllamaServer(["llama2"]) as other:
        candidates = (house.hook(server), house.hook(other))
        stream = house.executions.execute(prompt("Count", *candidates, session_id=session))
        error = await error_of(stream, UnavailableError)
        assert not other.requests
    assert error.metadata["kept_bytes"] == str(len("one two"))
    assert house.said(session)[1] == (ASSISTANT, "one two", FAILED)


async def test_a_drain_keeps_what_could_not_finish_as_interrupted(house: House, server: OllamaServer) -> None:
    session = await house.session()
    server.script(Answer("one two", fault=Stall(after=1)))
    stream = house.executions.execute(prompt("Count", house.hook(server), session_id=session))
    await until(stream, "delta")
    await house.executions.drain(0)
    assert (await error_of(stream, UnavailableError)).reason == "EXECUTION_INTERRUPTED"
    assert house.said(session)[1] == (ASSISTANT, "one", INTERRUPTED)
    error = await error_of(house.executions.execute(prompt("More")), UnavailableError)
    assert error.reason == "DAEMON_STOPPING"


async def test_deleting_the_session_cancels_its_turn(house: House, server: OllamaServer) -> None:
    session = await house.session()
    server.script(Answer("one two", fault=Stall(after=1)))
    stream = house.executions.execute(prompt("Count", house.hook(server), session_id=session))
    await until(stream, "delta")
    await house.sessions.delete(session)
    assert (await until(stream, "completed")).completed.finish_reason == pb.FINISH_REASON_CANCELLED
    assert await asyncio.to_thread(server.requests[0].abandoned.wait, 5)


async def test_a_local_only_session_refuses_the_cloud(house: House, server: OllamaServer) -> None:
    session, handle = await house.session(local_only=True), house.hook(server, "big-cloud")
    stream = house.executions.execute(prompt("Hi", handle, session_id=session, model="ollama:big-cloud"))
    error = await error_of(stream, FailedPreconditionError)
    assert error.reason == "NO_MODEL_ALLOWED"
    assert not server.requests
    assert house.said(session) == []


@pytest.mark.parametrize(
    ("request_", "kind", "reason"),
    [
        (pb.ExecuteRequest(), InvalidArgumentError, "INVALID_REQUEST"),
        (prompt("  \n"), InvalidArgumentError, "INVALID_REQUEST"),
        (prompt("Hi", request_id="ä"), InvalidArgumentError, "INVALID_REQUEST"),
        (prompt("Hi", options=pb.GenerationOptions(temperature=3)), InvalidArgumentError, "INVALID_REQUEST"),
        (
            prompt("Hi", options=pb.GenerationOptions(top_p=float("nan"))),
            InvalidArgumentError,
            "INVALID_REQUEST",
        ),
        (prompt("Hi", "no-such-handle"), FailedPreconditionError, "HANDLE_UNKNOWN"),
        (prompt("Hi", session_id="nobody"), NotFoundError, "SESSION_NOT_FOUND"),
        (prompt("Hi"), FailedPreconditionError, "NO_MODEL_ALLOWED"),
    ],
)
async def test_a_bad_request_is_refused_before_anything_is_done(
    house: House, request_: pb.ExecuteRequest, kind: type[OblixdError], reason: str
) -> None:
    assert (await error_of(house.executions.execute(request_), kind)).reason == reason
    assert house.sessions.count() == 0


async def test_a_defect_is_told_logged_and_recorded(
    house: House, server: OllamaServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = await house.session()
    monkeypatch.setattr(Recording, "take", lambda *_: 1 // 0)
    request = prompt("Hi", house.hook(server), session_id=session)
    error = await error_of(house.executions.execute(request), InternalError)
    assert (error.reason, "The log has the details" in error.message) == ("INTERNAL", True)
    assert "ZeroDivisionError" in caplog.text
    [execution] = house.executions.list(session)
    assert execution.state == pb.EXECUTION_STATE_FAILED
    assert house.sessions.recorded(execution.request_id).outcome.error.reason == "INTERNAL"


async def test_explain_decides_and_does_nothing_else(house: House, server: OllamaServer) -> None:
    decision = house.executions.explain(prompt("Hi", house.hook(server)))
    assert (decision.model, decision.rule) == ("ollama:llama2", "ALL_WELL")
    assert not server.requests
    assert house.executions.list("") == []
