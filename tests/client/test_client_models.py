"""Hooked models, agents, and what was measured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from oblix import (
    AgentRefusedError,
    FailedPreconditionError,
    InvalidArgumentError,
    ModelType,
    OblixClient,
)
from oblix.agents import BaseAgent, ConnectivityAgent, ResourceMonitor
from oblix.testing import OllamaServer, OpenAIServer
from oblix.v1 import models_pb2


async def test_hooked_models_are_listed_by_provider(hooked: OblixClient, ollama: OllamaServer) -> None:
    assert await hooked.hook_model(ModelType.OPENAI, "gpt-4o-mini", api_key="sk-1") is True
    assert await hooked.hook_model(ModelType.OLLAMA, "phi:mini", endpoint=ollama.url) is True
    assert hooked.list_models() == {"ollama": ["llama2", "phi:mini"], "openai": ["gpt-4o-mini"]}


async def test_the_configuration_never_has_the_key(client: OblixClient) -> None:
    await client.hook_model(
        "custom", "mine", "http://127.0.0.1:1/v1", "sk-canary", location="cloud", context_window=4096
    )
    assert client.get_model("custom", "mine") == {
        "model_type": "custom",
        "model_name": "mine",
        "model_id": "custom:mine",
        "endpoint": "http://127.0.0.1:1/v1",
        "location": "cloud",
        "has_api_key": True,
        "context_window": 4096,
        "options": {"context_window": 4096},
    }
    assert "sk-canary" not in repr(vars(client))
    assert client.get_model(ModelType.CUSTOM, "another") is None


@pytest.mark.parametrize(
    ("model_type", "variable"), [("openai", "OPENAI_API_KEY"), ("claude", "ANTHROPIC_API_KEY")]
)
async def test_keys_come_from_the_environment(
    client: OblixClient, monkeypatch: pytest.MonkeyPatch, model_type: str, variable: str
) -> None:
    await client.hook_model(model_type, "without")
    monkeypatch.setenv(variable, "sk-1")
    await client.hook_model(model_type, "with")
    found = [client.get_model(model_type, name) for name in ("without", "with")]
    assert [one and one["has_api_key"] for one in found] == [False, True]


async def test_the_last_hook_of_a_model_wins(client: OblixClient) -> None:
    with OpenAIServer(["gpt"]) as former, OpenAIServer(["gpt"]) as latter:
        await client.hook_model("openai", "gpt", former.url, "sk-old")
        await client.hook_model("openai", "gpt", latter.url, "sk-old")
        await client.hook_model("openai", "gpt", latter.url, "sk-new")
        assert client.list_models() == {"openai": ["gpt"]}
        listed = client._transport.call(lambda link: link.models.ListModels, models_pb2.ListModelsRequest())
        assert [model.endpoint for model in listed.models if model.handle] == [latter.url]
        response = await client.execute("Hello", stream=False)
        assert len(response["routing_decision"]["model_routing"]["candidates"]) == 1
        assert not former.requests
        assert latter.requests[-1].headers["authorization"] == "Bearer sk-new"


async def test_a_forgotten_hook_is_renewed_as_it_was_last(client: OblixClient) -> None:
    with OpenAIServer(["gpt"]) as server:
        for key in ("sk-old", "sk-new"):
            await client.hook_model("openai", "gpt", server.url, key)
        everything = models_pb2.UnhookModelRequest()
        client._transport.call(lambda link: link.models.UnhookModel, everything)
        await client.execute("Hello", stream=False)
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-new"}
        # What the daemon has forgotten can be replaced, too.
        client._transport.call(lambda link: link.models.UnhookModel, everything)
        await client.hook_model("openai", "gpt", server.url, "sk-newest")
        response = await client.execute("Hello", stream=False)
        assert len(response["routing_decision"]["model_routing"]["candidates"]) == 1


async def test_a_given_key_beats_the_environment(
    client: OblixClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    with OpenAIServer(["gpt"]) as server:
        await client.hook_model("openai", "gpt", server.url, "sk-given")
        await client.execute("Hello", stream=False)
        assert server.requests[-1].headers["authorization"] == "Bearer sk-given"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"model_type": "gemini"}, "model_type"),
        ({"model_type": None}, "model_type"),
        ({"model_name": ""}, "name"),
        ({"model_name": 3}, "model_name"),
        ({"endpoint": "ftp://here"}, "endpoint"),
        ({"endpoint": 3}, "endpoint"),
        ({"api_key": 3}, "api_key"),
        ({"location": "moon"}, "location"),
        ({"temperature": 1}, "options.temperature"),
        ({"num_ctx": {1}}, "options.num_ctx"),
    ],
)
async def test_wrong_arguments_raise(client: OblixClient, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.hook_model(**{"model_type": "ollama", "model_name": "llama2"} | arguments)
    assert caught.value.metadata["field"] == field
    assert client.list_models() == {}


async def test_two_keys_for_one_model_do_not_collide(client: OblixClient, shared_home: object) -> None:
    other = OblixClient()
    with OpenAIServer(["gpt"]) as server:
        await client.hook_model("openai", "gpt", server.url, "sk-1")
        await other.hook_model("openai", "gpt", server.url, "sk-2")
        for asking in (client, other):
            await asking.execute("Hello", stream=False)
        keys = [request.headers["authorization"] for request in server.requests]
    assert keys == ["Bearer sk-1", "Bearer sk-2"]


async def test_shutdown_lets_go_and_harms_nobody_else(hooked: OblixClient, ollama: OllamaServer) -> None:
    other = OblixClient()
    await other.hook_model("ollama", "llama2", endpoint=ollama.url)
    await hooked.shutdown()
    await hooked.shutdown()
    with pytest.raises(FailedPreconditionError) as caught:
        hooked.list_sessions()
    assert caught.value.reason == "CLIENT_CLOSED"
    assert (await other.execute("Hello", stream=False))["response"] == "You said: Hello"


async def test_the_end_of_a_block_shuts_the_client_down(client: OblixClient, ollama: OllamaServer) -> None:
    with OblixClient() as sync, OblixClient() as other:
        async with client as same:
            assert same is client
            for one in (client, sync):
                await one.hook_model("ollama", "llama2", endpoint=ollama.url)
        assert (await sync.execute("Hello", stream=False))["response"] == "You said: Hello"
        assert not other.list_sessions(limit=0)
    for one in (client, sync, other):
        with pytest.raises(FailedPreconditionError, match="was shut down"):
            one.list_sessions()


async def test_a_handle_that_the_daemon_forgot_is_hooked_again_unseen(hooked: OblixClient) -> None:
    request = models_pb2.UnhookModelRequest()
    await hooked._transport.acall(lambda link: link.models.UnhookModel, request)
    assert (await hooked.execute("Hello", stream=False))["response"] == "You said: Hello"


class Judge(BaseAgent):
    """Says what it is told to, and counts."""

    def __init__(self, result: object, name: str = "judge") -> None:
        super().__init__(name)
        self.result = result
        self.asked: list[dict[str, Any]] = []
        self.started = self.ended = 0

    async def initialize(self) -> bool:
        self.started += 1
        await asyncio.sleep(0)
        return True

    async def check(self, **kwargs: Any) -> Mapping[str, Any]:
        assert self.started == 1
        self.asked.append(kwargs)
        return self.result

    async def shutdown(self) -> None:
        self.ended += 1


async def test_what_an_agent_says_is_part_of_the_answer(hooked: OblixClient) -> None:
    result = {"proceed": True, "state": "fine", "target": "local", "reason": "why not", "metrics": {"n": 1}}
    judge = Judge(result)
    assert hooked.hook_agent(judge) is True
    hooked.hook_agent(ResourceMonitor())
    await asyncio.gather(*(hooked.execute("Hello", stream=False) for _ in range(3)))
    response = await hooked.execute("Hello", 0.5, 9, request_id="judged", stream=False)
    checks = {check["agent"]: check["result"] for check in response["agent_checks"]}
    assert list(checks) == ["judge", "resource_monitor"]
    assert checks["judge"] == result
    assert set(checks["resource_monitor"]) == {"proceed", "state", "target", "reason", "metrics"}
    assert judge.asked[-1] == {
        "prompt": "Hello",
        "session_id": None,
        "request_id": "judged",
        "temperature": 0.5,
        "max_tokens": 9,
    }
    await hooked.shutdown()
    assert (judge.started, judge.ended) == (1, 1)


async def test_an_agent_can_refuse(hooked: OblixClient, ollama: OllamaServer) -> None:
    session_id = await hooked.create_session()
    hooked.hook_agent(Judge({"proceed": False, "reason": "Over budget."}))
    with pytest.raises(AgentRefusedError, match=r"judge stopped the execution: Over budget\.") as caught:
        await hooked.execute("Hello", session_id=session_id, stream=False)
    assert caught.value.metadata == {"agent": "judge"}
    session = hooked.load_session(session_id)
    assert session is not None
    assert session["messages"] == []
    assert ollama.requests == []


async def test_an_agent_that_never_answers_is_not_waited_for(hooked: OblixClient) -> None:
    class Asleep(BaseAgent):
        check_timeout = 0.01
        woken = asyncio.Event()

        async def check(self, **_: Any) -> Mapping[str, Any]:
            while not self.woken.is_set():
                with suppress(asyncio.CancelledError):
                    await self.woken.wait()
            return {}

    agent = Asleep("asleep")
    hooked.hook_agent(agent)
    response = await hooked.execute("Hello", stream=False)
    agent.woken.set()
    result = response["agent_checks"][0]["result"]
    assert (response["response"], result["proceed"]) != ("", False)
    assert "did not answer within its check_timeout, 0.01 s" in result["reason"]


@pytest.mark.parametrize("method", ["initialize", "check"])
async def test_an_agent_that_fails_is_told_of_and_stops_nothing(hooked: OblixClient, method: str) -> None:
    class Broken(BaseAgent):
        async def fail(self, **_: Any) -> Any:
            raise RuntimeError("no fuel")

    broken = Broken("broken")
    setattr(broken, method, broken.fail)
    hooked.hook_agent(broken)
    response = await hooked.execute("Hello", stream=False)
    result = response["agent_checks"][0]["result"]
    assert result["proceed"] is True
    assert "no fuel" in result["reason"]


async def test_a_target_that_an_agent_favours_decides_where_the_prompt_goes(
    hooked: OblixClient, ollama: OllamaServer
) -> None:
    await hooked.hook_model("custom", "far", endpoint=ollama.url, location="cloud")
    hooked.hook_agent(Judge({"proceed": True, "target": "custom:far"}))
    decision = await hooked.explain("Hello")
    assert decision["model_routing"]["target"] == "custom:far"
    hooked.hook_agent(Judge({"proceed": True, "target": "local"}))
    assert (await hooked.explain("Hello"))["model_routing"]["target"] == "ollama:llama2"


@pytest.mark.parametrize("result", [None, {"metrics": {1, 2}}, {"metrics": "x" * 70_000}])
async def test_a_check_that_is_no_json_is_named(hooked: OblixClient, result: object) -> None:
    hooked.hook_agent(Judge(result))
    with pytest.raises(InvalidArgumentError) as caught:
        await hooked.execute("Hello", stream=False)
    assert caught.value.metadata["field"].startswith("agent_checks.judge")


async def test_an_agent_of_the_same_name_replaces_the_first(hooked: OblixClient) -> None:
    hooked.hook_agent(Judge({"proceed": False}))
    hooked.hook_agent(Judge({"proceed": True}))
    assert len((await hooked.execute("Hello", stream=False))["agent_checks"]) == 1


def test_only_agents_can_be_hooked(client: OblixClient) -> None:
    with pytest.raises(InvalidArgumentError, match="agent takes"):
        client.hook_agent(ResourceMonitor)


async def test_thresholds_travel_with_the_prompt(hooked: OblixClient, ollama: OllamaServer) -> None:
    strict, lax = hooked, OblixClient()
    await lax.hook_model("ollama", "llama2", endpoint=ollama.url)
    everything = {"memory_threshold": 0.0, "critical_memory": 100.0}
    strict.hook_agent(ResourceMonitor("strict", custom_thresholds=everything))
    lax.hook_agent(
        ResourceMonitor("lax", custom_thresholds={"memory_threshold": 100.0, "load_threshold": 1000})
    )
    strict.hook_agent(ConnectivityAgent())
    metrics = await hooked.get_resource_metrics()
    while metrics["memory_percent"] is None:  # before the first sample
        metrics = await hooked.get_resource_metrics()
    responses = [await one.execute("Hello", stream=False) for one in (strict, lax)]
    checks = [{c["agent"]: c["result"] for c in response["agent_checks"]} for response in responses]
    assert checks[0]["strict"]["state"] in {"constrained", "critical"}  # the latter where the CPU is busy
    assert "(threshold 0)" in checks[0]["strict"]["reason"]
    assert checks[0]["connectivity_monitor"]["state"] in {"unknown", "optimal"}
    assert "(threshold 1000)" in checks[1]["lax"]["reason"]


async def test_measurements_are_json(client: OblixClient) -> None:
    resources = await client.get_resource_metrics()
    network = await client.get_connectivity_metrics()
    assert {"cpu_percent", "memory_percent", "load_average", "state"} <= set(resources)
    assert {"latency", "packet_loss", "bandwidth", "state"} <= set(network)
    assert json.dumps([resources, network], allow_nan=False)
