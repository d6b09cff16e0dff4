"""A session's turns with their routing, as a program gets them."""

from __future__ import annotations

import pytest
from oblix import OblixClient
from oblix.errors import InvalidArgumentError, OblixError
from oblix.testing import Answer, OllamaServer, OpenAIServer, Stall
from oblix.testing.exchange import Exchange

NOWHERE = "http://127.0.0.1:1"


async def test_a_turn_tells_who_failed_before_another_answered(
    client: OblixClient, ollama: OllamaServer
) -> None:
    await client.hook_model("ollama", "dead", endpoint=NOWHERE)
    await client.hook_model("ollama", "llama2", endpoint=ollama.url)
    session_id = await client.create_session()
    said = await client.execute("Hello", session_id=session_id, stream=False)
    assert said["routing_decision"]["model_routing"]["failed_attempts"]
    (turn,) = client.explain_session(session_id) or []
    assert (turn["prompt"], turn["model"], turn["error"]) == ("Hello", "ollama:llama2", None)
    assert turn["routing_decision"] == said["routing_decision"]
    await client.shutdown()


async def test_failed_turns_are_among_the_others_and_a_running_one_is_not(
    client: OblixClient, ollama: OllamaServer
) -> None:
    await client.hook_model("ollama", "dead", endpoint=NOWHERE)
    await client.hook_model("ollama", "llama2", endpoint=ollama.url)
    session_id = await client.create_session()
    with pytest.raises(OblixError):
        await client.execute("One", session_id=session_id, stream=False, model="ollama:dead")
    await client.execute("Two", session_id=session_id, stream=False, model="ollama:llama2")
    ollama.script(Answer("one two three", fault=Stall(after=1)))
    running = client.stream("Three", session_id=session_id, model="ollama:llama2")
    await anext(running)
    failed, answered = client.explain_session(session_id) or []
    assert (failed["prompt"], failed["model"]) == ("One", None)
    assert failed["error"]["reason"] == "MODEL_UNREACHABLE"
    assert (answered["prompt"], answered["error"]) == ("Two", None)
    assert [turn["prompt"] for turn in client.explain_session(session_id, 1) or []] == ["Two"]
    copy = await client.fork_session(session_id)
    assert [turn["prompt"] for turn in client.explain_session(copy) or []] == ["One", "Two"]
    await running.aclose()
    await client.shutdown()


def test_without_a_session_there_are_none_and_a_limit_has_limits(client: OblixClient) -> None:
    assert client.explain_session("nothing") is None
    with pytest.raises(InvalidArgumentError, match="limit"):
        client.explain_session("nothing", 0)


class WithoutCounts(OpenAIServer):
    """A server that knows no `stream_options`."""

    def route(self, exchange: Exchange) -> None:
        body = exchange.received.body if exchange.received.method == "POST" else {}
        if "stream_options" in body:
            exchange.send(400, self.error(400, "Unrecognized request argument supplied: stream_options"))
        else:
            super().route(exchange)


async def test_adaptations_of_a_request_are_reported(client: OblixClient) -> None:
    with WithoutCounts(["m"]) as server:
        await client.hook_model("custom", "m", endpoint=server.url, location="local")
        session_id = await client.create_session()
        said = await client.execute("Hello", session_id=session_id, stream=False)
        [change] = said["routing_decision"]["model_routing"]["adaptations"]
        assert "stream_options" in change
        (turn,) = client.explain_session(session_id) or []
        assert turn["routing_decision"] == said["routing_decision"]
    await client.shutdown()
