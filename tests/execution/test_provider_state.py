"""What a provider wants back is recorded with its answer, and goes back to it alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from oblix.testing import Answer, Insert, OpenAIServer
from oblix.v1 import executions_pb2, messages_pb2, sessions_pb2
from support.drivers.events import all_of
from support.drivers.execution import CLIENT, Harness, prompt

from oblixd.models import hook_spec
from oblixd.models.base import Location

SIGNATURE = {"google": {"thought_signature": "c2ln"}}
CALL = {
    "index": 0,
    "id": "c1",
    "function": {"name": "weather", "arguments": "{}"},
    "extra_content": SIGNATURE,
}


def frame(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


@pytest.fixture
def servers() -> Iterator[tuple[OpenAIServer, OpenAIServer]]:
    with OpenAIServer(["m"]) as one, OpenAIServer(["m"]) as other:
        calling = frame(reasoning_content="Hm.", tool_calls=[CALL])
        one.script(Answer("Let me look.", fault=Insert(calling, 3)), "It snows.")
        yield one, other


def hook(harness: Harness, server: OpenAIServer) -> str:
    spec = hook_spec.spec_of("custom", "m", endpoint=server.url, location=Location.LOCAL)
    return harness.registry.hook(CLIENT, spec).handle


def answering(handle: str, session: str) -> executions_pb2.ExecuteRequest:
    result = messages_pb2.ToolResultPart(call_id="c1", content="Snow.")
    told = messages_pb2.Message(role=messages_pb2.ROLE_TOOL, parts=[messages_pb2.Part(tool_result=result)])
    return executions_pb2.ExecuteRequest(input=[told], candidates=[handle], session_id=session)


async def test_a_signature_is_recorded_and_sent_back_to_its_server_alone(
    harness: Harness, servers: tuple[OpenAIServer, OpenAIServer]
) -> None:
    one, other = servers
    session, handle = await harness.session(), hook(harness, one)
    *_, last = await all_of(harness.executions.execute(prompt("Weather?", handle, session_id=session)))
    state = last.completed.message.provider_state
    assert state.author == f"custom:m at {one.url.removesuffix('/v1')}"
    assert json.loads(state.json)["calls"]["c1"]["extra_content"] == SIGNATURE
    recorded, _ = harness.sessions.messages(session, page_size=0, page_token="", newest_first=False)
    assert recorded[1].provider_state == state
    await all_of(harness.executions.execute(answering(handle, session)))
    sent = one.requests[-1].body["messages"][1]
    assert sent["reasoning_content"] == "Hm."
    assert sent["tool_calls"][0]["extra_content"] == SIGNATURE
    await all_of(harness.executions.execute(prompt("And?", hook(harness, other), session_id=session)))
    assert "Hm." not in json.dumps(other.requests[-1].body)
    assert "c2ln" not in json.dumps(other.requests[-1].body)


async def test_a_copy_keeps_it_and_an_edit_drops_it(
    harness: Harness, servers: tuple[OpenAIServer, OpenAIServer]
) -> None:
    session = await harness.session()
    request = prompt("Weather?", hook(harness, servers[0]), session_id=session)
    *_, last = await all_of(harness.executions.execute(request))
    state = last.completed.message.provider_state
    copy = await harness.sessions.copy(session, None)
    copied, _ = harness.sessions.messages(copy.id, page_size=0, page_token="", newest_first=False)
    assert copied[1].provider_state == state
    parts = [part for part in last.completed.message.parts if part.HasField("tool_call")]
    edit = sessions_pb2.EditMessageRequest(
        session_id=session, sequence=2, parts=[*parts, messages_pb2.Part(text="Edited.")]
    )
    edited = await harness.sessions.edit_message(edit)
    assert not edited.HasField("provider_state")
