"""What a prompt may say, and what is refused before it is sent."""

from __future__ import annotations

import pytest
from oblix import (
    InvalidArgumentError,
    OblixClient,
    ResourceExhaustedError,
)
from oblix._resources.requests import Prompted, request_of
from oblix.testing import OllamaServer
from oblix.v1 import executions_pb2


async def test_options_reach_the_model(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    await hooked_client.execute("Hello", 0.25, 7, stream=False, top_p=0.5, seed=11, stop=["END"])
    options = ollama.requests[-1].body["options"]
    assert options["temperature"] == 0.25
    assert options["num_predict"] == 7
    assert (options["top_p"], options["seed"], options["stop"]) == (0.5, 11, ["END"])


def test_how_long_and_how_soon_travels_with_the_prompt() -> None:
    options = {"priority": "background", "when_busy": "fail", "timeout": 1.5, "on_disconnect": "continue"}
    options |= {"policy": "cheapest", "max_cost": 0.5}
    request = request_of(Prompted("Hello", None, options))
    assert request.priority == executions_pb2.PRIORITY_BACKGROUND
    assert request.when_busy == executions_pb2.WHEN_BUSY_FAIL
    assert request.on_disconnect == executions_pb2.ON_DISCONNECT_CONTINUE
    assert request.timeout.ToMilliseconds() == 1500
    assert (request.policy.name, request.policy.max_cost) == ("cheapest", 0.5)
    assert not request_of(Prompted("Hello", None, {})).HasField("timeout")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": 17}, "prompt"),
        ({"prompt": "\udc80"}, "prompt"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1_000_001}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"seed": 1.5}, "seed"),
        ({"stop": 3}, "stop"),
        ({"stop": ["a", 3]}, "stop[1]"),
        ({"frequency_penalty": 1}, "frequency_penalty"),
        ({"on_disconnect": "later"}, "on_disconnect"),
        ({"on_break": "panic"}, "on_break"),
        ({"context_policy": None}, "context_policy"),
        ({"local_only": "yes"}, "local_only"),
        ({"priority": "urgent"}, "priority"),
        ({"when_busy": True}, "when_busy"),
        ({"policy": 3}, "policy"),
        ({"max_cost": -1}, "max_cost"),
        ({"max_cost": float("inf")}, "max_cost"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": 86_401}, "timeout"),
        ({"request_id": "ä"}, "request_id"),
        ({"session_id": "a/b"}, "session_id"),
    ],
)
async def test_bad_input_names_the_field_and_sends_nothing(
    hooked_client: OblixClient, ollama: OllamaServer, arguments: dict[str, object], field: str
) -> None:
    asked = len(ollama.requests)
    with pytest.raises(InvalidArgumentError) as caught:
        await hooked_client.execute(**{"prompt": "Hello", "stream": False} | arguments)
    assert caught.value.metadata["field"] == field
    assert len(ollama.requests) == asked


async def test_a_prompt_over_the_limit_is_refused_before_it_is_sent(hooked_client: OblixClient) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await hooked_client.execute("x" * 20_000_000, stream=False)
    assert caught.value.reason == "MESSAGE_TOO_LARGE"
    field, limit = caught.value.metadata["field"], caught.value.metadata["limit"]
    assert (field, limit) == ("prompt", "at most 8,388,608 bytes a message")
    assert caught.value.metadata["given"].startswith("20,000,0")


async def test_a_request_over_the_limit_of_grpc_has_a_reason(hooked_client: OblixClient) -> None:
    session_id = await hooked_client.create_session()
    with pytest.raises(ResourceExhaustedError) as caught:
        hooked_client.session_manager.save_message(session_id, "x" * 20_000_000)
    assert caught.value.reason == "MESSAGE_TOO_LARGE"
