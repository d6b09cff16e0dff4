"""One bad turn does not end a conversation: what a model refuses for what it says is left out afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from oblix.testing import Answer, OpenAIServer, Refuse
from oblix.v1 import executions_pb2, messages_pb2
from support.drivers.events import error_of
from support.drivers.execution import CLIENT, Harness, prompt

from oblixd.errors import InvalidArgumentError
from oblixd.models import hook_spec
from oblixd.models.base import Location
from oblixd.models.content_refusals import content_refusal
from oblixd.models.http.server import ServerErrors

PEER = ServerErrors("The server", "http://there")
IMAGE = messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=b"png"))
POLICY = "Your request was rejected by our safety system: it violates the content policy."
TOO_LARGE = "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum"


def server_refusal(status: int, words: str, code: str | None = None) -> Any:
    body = {"error": {"message": words, "type": "invalid_request_error", "code": code}}
    return content_refusal(PEER.error_response(status, {}, json.dumps(body).encode()))


@pytest.mark.parametrize(
    ("status", "words", "reason"),
    [
        (400, TOO_LARGE, "IMAGE_REFUSED"),
        (
            400,
            "messages.11.content.8.image: Image format image/png not supported",
            "IMAGE_REFUSED",
        ),
        (400, "At least one of the image dimensions exceed max allowed size: 8000 pixels", "IMAGE_REFUSED"),
        (400, "Could not process image", "IMAGE_REFUSED"),
        (422, "Failed to decode the picture", "IMAGE_REFUSED"),
        (400, "You uploaded an unsupported image. Please make sure your image is valid.", "IMAGE_REFUSED"),
        (400, POLICY, "POLICY_REFUSED"),
        (400, "Content Exists Risk", "POLICY_REFUSED"),
        (
            400,
            "The response was filtered due to Azure's content management policy",
            "POLICY_REFUSED",
        ),
        (400, "Output data may contain inappropriate content.", "POLICY_REFUSED"),
        (422, "This prompt was flagged by moderation", "POLICY_REFUSED"),
        (400, "messages: text content blocks must contain non-whitespace text", "CONTENT_REFUSED"),
        (400, "The prompt contains invalid unicode characters", "CONTENT_REFUSED"),
    ],
)
def test_refusals_that_name_content_are_known(status: int, words: str, reason: str) -> None:
    refusal = server_refusal(status, words)
    assert refusal is not None
    assert refusal.reason == reason


def test_a_policy_can_be_named_by_the_code_alone() -> None:
    refusal = server_refusal(400, "Bad request", "content_policy_violation")
    assert refusal is not None
    assert refusal.reason == "POLICY_REFUSED"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "Unsupported parameter: 'temperature'"),
        (400, "This model's maximum context length is 4096 tokens"),
        (400, "Something went wrong"),
        (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
        (400, "messages.3: `tool_use` ids were found without `tool_result` blocks immediately after"),
        (400, "The `reasoning_content` in the thinking mode must be passed back to the API."),
        (400, "Invalid schema for response_format 'answer'"),
        (402, "Insufficient Balance"),
        (401, POLICY),
        (403, POLICY),
        (429, POLICY),
        (500, POLICY),
        (503, TOO_LARGE),
    ],
)
def test_other_refusals_mark_nothing(status: int, words: str) -> None:
    assert server_refusal(status, words) is None


Rule = Callable[[list[Any]], str]
"""What a server says to a conversation; empty: it takes it."""


class Strict(OpenAIServer):
    """A server that answers what its rule takes."""

    rule: Rule

    def contexts(self) -> list[list[str]]:
        """The texts of each conversation that it was sent."""
        sent = [one.body["messages"] for one in self.requests if one.body and "messages" in one.body]
        return [[text_of(message) for message in messages] for messages in sent]


def text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "+".join(block["type"] for block in content)


def without(word: str, words: str = POLICY) -> Rule:
    """Refuses every conversation with this word in it."""
    return lambda messages: words if any(word in text_of(message) for message in messages) else ""


@pytest.fixture
def server() -> Iterator[Strict]:
    with Strict(["m", "other"]) as server:

        def answer(_: str) -> Answer:
            words = server.rule(server.requests[-1].body["messages"])
            return Answer(fault=Refuse(400, words)) if words else Answer("Fine.")

        server.default = answer
        yield server


def hook(harness: Harness, server: OpenAIServer, name: str = "m") -> str:
    spec = hook_spec.spec_of("custom", name, endpoint=server.url, location=Location.LOCAL)
    return harness.registry.hook(CLIENT, spec).handle


async def ask(harness: Harness, request: executions_pb2.ExecuteRequest) -> executions_pb2.ExecutionCompleted:
    events = [event async for event in harness.executions.execute(request)]
    return events[-1].completed


async def expect_refusal(harness: Harness, request: executions_pb2.ExecuteRequest) -> InvalidArgumentError:
    error = await error_of(harness.executions.execute(request), InvalidArgumentError)
    assert isinstance(error, InvalidArgumentError)
    return error


def marks(harness: Harness, session: str) -> list[str]:
    """The reason of each message's mark; empty where it has none."""
    messages, _ = harness.sessions.messages(session, page_size=0, page_token="", newest_first=False)
    return [message.exclusion.reason for message in messages]


async def spoil(harness: Harness, session: str, *texts: str, image: bool = False) -> None:
    """Record questions as yesterday's build left them: each without an answer, and none marked."""
    parts = [IMAGE] if image else []
    for text in texts:
        question = messages_pb2.Message(
            role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text), *parts]
        )
        await harness.sessions.append(session, [question])


async def test_a_question_that_is_refused_for_its_content_is_left_out_of_later_contexts(
    harness: Harness, server: Strict
) -> None:
    server.rule = without("bomb")
    session, handle = await harness.session(), hook(harness, server)
    error = await expect_refusal(harness, prompt("A bomb?", handle, session_id=session))
    assert error.reason == "MODEL_REFUSED_REQUEST"
    assert error.metadata["left_out_reason"] == "POLICY_REFUSED"
    for way_out in ("Edit or delete", "include_excluded"):
        assert way_out in error.message
    completed = await ask(harness, prompt("2+2?", handle, session_id=session))
    assert server.contexts()[-1] == ["2+2?"]
    assert [one.exclusion.reason for one in completed.context.excluded] == ["POLICY_REFUSED"]
    assert "safety system" in completed.context.excluded[0].exclusion.detail
    assert completed.context.excluded_messages == 1
    assert marks(harness, session) == ["POLICY_REFUSED", "", ""]


async def test_a_policy_of_the_request_brings_it_back(harness: Harness, server: Strict) -> None:
    server.rule = without("bomb")
    session, handle = await harness.session(), hook(harness, server)
    await expect_refusal(harness, prompt("A bomb?", handle, session_id=session))
    server.rule = without("nothing")
    await ask(harness, prompt("2+2?", handle, session_id=session, include_excluded=True))
    assert server.contexts()[-1] == ["A bomb?", "2+2?"]


async def test_a_request_for_excluded_messages_fails_if_they_are_refused(
    harness: Harness, server: Strict
) -> None:
    server.rule = without("bomb")
    session, handle = await harness.session(), hook(harness, server)
    await expect_refusal(harness, prompt("A bomb?", handle, session_id=session))
    again = prompt("2+2?", handle, session_id=session, include_excluded=True)
    error = await expect_refusal(harness, again)
    assert "left_out_reason" not in error.metadata
    assert marks(harness, session) == ["POLICY_REFUSED", ""]


@pytest.mark.parametrize("later", [0, 1, 3, 6])
async def test_a_session_that_was_spoiled_yesterday_goes_on_and_only_the_cause_is_marked(
    harness: Harness, server: Strict, later: int
) -> None:
    server.rule = without("bomb")
    session, handle = await harness.session(), hook(harness, server)
    await ask(harness, prompt("Hello", handle, session_id=session))
    await spoil(harness, session, "A bomb?", *(f"And {number}?" for number in range(later)))
    completed = await ask(harness, prompt("2+2?", handle, session_id=session))
    assert completed.message.parts[0].text == "Fine."
    assert marks(harness, session) == ["", "", "POLICY_REFUSED", *[""] * later, "", ""]
    asked = len(server.contexts())
    await ask(harness, prompt("3+3?", handle, session_id=session))
    assert len(server.contexts()) == asked + 1, "it is known from now on"
    assert "A bomb?" not in server.contexts()[-1]
    assert len(server.contexts()[-1]) == 5 + later, "the others are there again"


async def test_an_image_from_long_ago_is_found_among_other_questions(
    harness: Harness, server: Strict
) -> None:
    server.rule = without("image_url", TOO_LARGE)
    session, handle = await harness.session(), hook(harness, server)
    await spoil(harness, session, "One?")
    await spoil(harness, session, "What is this?", image=True)
    await spoil(harness, session, "Two?")
    await ask(harness, prompt("2+2?", handle, session_id=session))
    assert marks(harness, session) == ["", "IMAGE_REFUSED", "", "", ""]
    assert len(server.contexts()) == 2


async def test_a_question_is_not_marked_for_what_stands_beside_it(harness: Harness, server: Strict) -> None:
    """The model takes no images at all: the question has none."""
    server.rule = lambda _: "This model does not support image input."
    session, handle = await harness.session(), hook(harness, server)
    await expect_refusal(harness, prompt("2+2?", handle, session_id=session))
    assert marks(harness, session) == [""]


async def test_messages_that_another_model_took_are_left_out_for_this_one_and_not_marked(
    harness: Harness, server: Strict
) -> None:
    server.rule = without("nothing")
    session, handle, other = await harness.session(), hook(harness, server), hook(harness, server, "other")
    for text in ("A bomb?", "And then?"):
        await ask(harness, prompt(text, other, session_id=session))
    server.rule = without("bomb")
    await ask(harness, prompt("2+2?", handle, session_id=session))
    assert server.contexts()[-1] == ["Fine.", "Fine.", "2+2?"]
    assert marks(harness, session) == [""] * 6


async def test_a_question_that_the_next_model_answers_is_not_marked(harness: Harness, server: Strict) -> None:
    server.rule = without("bomb")
    with OpenAIServer(["n"]) as second:
        second.default = lambda _: Answer("Boom.")
        session = await harness.session()
        request = prompt("A bomb?", hook(harness, server), hook(harness, second, "n"), session_id=session)
        completed = await ask(harness, request)
    assert completed.message.parts[0].text == "Boom."
    assert marks(harness, session) == ["", ""]


@pytest.mark.parametrize("words", ["Unsupported parameter: 'stop'", "Bad request"])
async def test_another_refusal_leaves_the_question_in(harness: Harness, server: Strict, words: str) -> None:
    server.rule = lambda _: words
    session, handle = await harness.session(), hook(harness, server)
    await expect_refusal(harness, prompt("Hi", handle, session_id=session))
    assert marks(harness, session) == [""]


async def test_a_refused_result_goes_with_its_call(harness: Harness, server: Strict) -> None:
    server.rule = without("bomb")
    session, handle = await harness.session(), hook(harness, server)
    call = messages_pb2.ToolCallPart(call_id="c1", name="search", arguments_json="{}")
    parts = [messages_pb2.Part(tool_call=call)]
    called = messages_pb2.Message(role=messages_pb2.ROLE_ASSISTANT, parts=parts)
    await spoil(harness, session, "Look it up.")
    await harness.sessions.append(session, [called])
    result = messages_pb2.ToolResultPart(call_id="c1", content="how to make a bomb")
    given = [messages_pb2.Message(role=messages_pb2.ROLE_TOOL, parts=[messages_pb2.Part(tool_result=result)])]
    request = executions_pb2.ExecuteRequest(input=given, candidates=[handle], session_id=session)
    await expect_refusal(harness, request)
    assert marks(harness, session) == ["", "POLICY_REFUSED", "POLICY_REFUSED"]
    await ask(harness, prompt("2+2?", handle, session_id=session))
    assert server.contexts()[-1] == ["Look it up.", "2+2?"]


async def test_without_a_session_nothing_is_marked(harness: Harness, server: Strict) -> None:
    server.rule = without("bomb")
    error = await expect_refusal(harness, prompt("A bomb?", hook(harness, server)))
    assert "left out" not in error.message
