"""A context that a server calls too long is made shorter and sent again: a session can always go on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from oblix.testing import Answer, OpenAIServer, Refuse
from oblix.v1 import executions_pb2, messages_pb2
from support.drivers.events import all_of, error_of
from support.drivers.execution import CLIENT, Harness, prompt

from oblixd.errors import InvalidArgumentError
from oblixd.models import hook_spec
from oblixd.models.base import Location, ModelError, ModelErrorKind
from oblixd.models.content_refusals import WITHOUT_NUMBERS, share_that_fits
from oblixd.models.http.server import ServerErrors


@pytest.mark.parametrize(
    ("words", "share"),
    [
        ("This model's maximum context length is 4096 tokens. However, you requested 8192 tokens.", 0.45),
        (
            "maximum context length is 4,096 tokens, you asked for 8,192 (7,892 in your prompt; 300 more)",
            0.45,
        ),
        ("prompt is too long: 211000 tokens > 200000 maximum", 0.853),
        ("the request exceeds the available context size (4096 tokens), it has 40960", 0.09),
        ("The input (26405 tokens) is longer than the model's context length (16384 tokens).", 0.558),
        ("tokens in request more than max tokens allowed", WITHOUT_NUMBERS),
        ("prompt is too long", WITHOUT_NUMBERS),
    ],
)
def test_the_room_is_read_from_a_refusal(words: str, share: float) -> None:
    refused = ServerErrors("The server", "http://there").error_response(400, {}, words.encode())
    assert refused.kind is ModelErrorKind.CONTEXT_OVERFLOW
    assert share_that_fits(refused) == pytest.approx(share, abs=0.002)


def test_our_own_refusal_is_no_servers() -> None:
    assert share_that_fits(ModelError(ModelErrorKind.CONTEXT_OVERFLOW, "too long")) is None


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """A server whose window is a hundred words, and which tells nobody."""
    with OpenAIServer(["m"]) as server:

        def answer(_: str) -> Answer:
            words = sum(len(one["content"].split()) for one in server.requests[-1].body["messages"])
            if words > 100:
                return Answer(
                    fault=Refuse(400, f"maximum context length is 100 tokens, you sent {words} tokens")
                )
            return Answer("Fine.")

        server.default = answer
        yield server


async def talk(harness: Harness, turns: int) -> str:
    """A session of so many turns, ten words each."""
    session = await harness.session()
    for number in range(turns):
        for role in (messages_pb2.ROLE_USER, messages_pb2.ROLE_ASSISTANT):
            text = messages_pb2.Part(text=f"{number} " + "word " * 9)
            await harness.sessions.append(session, [messages_pb2.Message(role=role, parts=[text])])
    return session


def hook(harness: Harness, server: OpenAIServer) -> str:
    spec = hook_spec.spec_of("custom", "m", endpoint=server.url, location=Location.LOCAL)
    return harness.registry.hook(CLIENT, spec).handle


async def test_a_conversation_past_a_window_that_nobody_knows_goes_on(
    harness: Harness, server: OpenAIServer
) -> None:
    session = await talk(harness, 20)
    *_, last = await all_of(
        harness.executions.execute(prompt("And?", hook(harness, server), session_id=session))
    )
    report = last.completed.context
    assert last.completed.message.parts[0].text == "Fine."
    assert report.omitted_messages + report.sent_messages == 41
    assert 2 <= report.sent_messages <= 10
    assert [one.reason for one in last.completed.failed_attempts] == ["CONTEXT_OVERFLOW"]


async def test_where_nothing_may_be_left_out_it_is_told(harness: Harness, server: OpenAIServer) -> None:
    session = await talk(harness, 20)
    request = prompt(
        "And?",
        hook(harness, server),
        session_id=session,
        context_policy=executions_pb2.CONTEXT_POLICY_REFUSE,
    )
    error = await error_of(harness.executions.execute(request), InvalidArgumentError)
    assert error.reason == "CONTEXT_OVERFLOW"
    assert len([one for one in server.requests if one.body]) == 1


async def test_a_question_too_long_by_itself_is_asked_once(harness: Harness, server: OpenAIServer) -> None:
    request = prompt("word " * 200, hook(harness, server), session_id=await harness.session())
    error = await error_of(harness.executions.execute(request), InvalidArgumentError)
    assert error.reason == "CONTEXT_OVERFLOW"
    assert len([one for one in server.requests if one.body]) == 1
