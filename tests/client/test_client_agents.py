"""A program's own agents: what they say travels with the prompt, and is part of the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from oblix import (
    AgentRefusedError,
    InvalidArgumentError,
    OblixClient,
)
from oblix.agents import BaseAgent, ConnectivityAgent, ResourceMonitor
from oblix.testing import OllamaServer


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


async def test_the_checks_of_agents_are_part_of_the_answer(hooked_client: OblixClient) -> None:
    result = {"proceed": True, "state": "fine", "target": "local", "reason": "why not", "metrics": {"n": 1}}
    judge = Judge(result)
    assert hooked_client.hook_agent(judge) is True
    hooked_client.hook_agent(ResourceMonitor())
    await asyncio.gather(*(hooked_client.execute("Hello", stream=False) for _ in range(3)))
    response = await hooked_client.execute("Hello", 0.5, 9, request_id="judged", stream=False)
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
    await hooked_client.shutdown()
    assert (judge.started, judge.ended) == (1, 1)


async def test_an_agent_can_refuse(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    session_id = await hooked_client.create_session()
    hooked_client.hook_agent(Judge({"proceed": False, "reason": "Over budget."}))
    with pytest.raises(AgentRefusedError, match=r"judge stopped the execution: Over budget\.") as caught:
        await hooked_client.execute("Hello", session_id=session_id, stream=False)
    assert caught.value.metadata == {"agent": "judge"}
    session = hooked_client.load_session(session_id)
    assert session is not None
    assert session["messages"] == []
    assert ollama.requests == []


async def test_an_agent_that_never_answers_is_not_waited_for(hooked_client: OblixClient) -> None:
    class Asleep(BaseAgent):
        check_timeout = 0.01
        woken = asyncio.Event()

        async def check(self, **_: Any) -> Mapping[str, Any]:
            while not self.woken.is_set():
                with suppress(asyncio.CancelledError):
                    await self.woken.wait()
            return {}

    agent = Asleep("asleep")
    hooked_client.hook_agent(agent)
    response = await hooked_client.execute("Hello", stream=False)
    agent.woken.set()
    result = response["agent_checks"][0]["result"]
    assert (response["response"], result["proceed"]) != ("", False)
    assert "did not answer within its check_timeout, 0.01 s" in result["reason"]


@pytest.mark.parametrize("method", ["initialize", "check"])
async def test_an_agent_that_fails_is_told_of_and_stops_nothing(
    hooked_client: OblixClient, method: str
) -> None:
    class Broken(BaseAgent):
        async def fail(self, **_: Any) -> Any:
            raise RuntimeError("no fuel")

    broken = Broken("broken")
    setattr(broken, method, broken.fail)
    hooked_client.hook_agent(broken)
    response = await hooked_client.execute("Hello", stream=False)
    result = response["agent_checks"][0]["result"]
    assert result["proceed"] is True
    assert "no fuel" in result["reason"]


async def test_a_target_that_an_agent_favours_decides_where_the_prompt_goes(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    await hooked_client.hook_model("custom", "far", endpoint=ollama.url, location="cloud")
    hooked_client.hook_agent(Judge({"proceed": True, "target": "custom:far"}))
    decision = await hooked_client.explain("Hello")
    assert decision["model_routing"]["target"] == "custom:far"
    hooked_client.hook_agent(Judge({"proceed": True, "target": "local"}))
    assert (await hooked_client.explain("Hello"))["model_routing"]["target"] == "ollama:llama2"


async def test_a_target_that_is_nowhere_is_noted_in_what_the_agent_said(hooked_client: OblixClient) -> None:
    hooked_client.hook_agent(Judge({"proceed": True, "target": "ollama:lama2"}, "mistyped"))
    hooked_client.hook_agent(Judge({"proceed": True, "target": "ollama:llama2"}, "right"))
    checks = (await hooked_client.execute("Hello", stream=False))["agent_checks"]
    results = {check["agent"]: check["result"] for check in checks}
    assert "ollama:lama2" in results["mistyped"]["note"]
    assert results["right"] == {"proceed": True, "target": "ollama:llama2"}


@pytest.mark.parametrize("result", [None, False, "no", [("proceed", False)]], ids=repr)
async def test_a_check_that_returns_no_dict_is_told_of_and_stops_nothing(
    hooked_client: OblixClient, result: object
) -> None:
    hooked_client.hook_agent(Judge(result))
    (check,) = (await hooked_client.execute("Hello", stream=False))["agent_checks"]
    assert check["result"]["proceed"] is True
    assert "has to return a dict" in check["result"]["reason"]


@pytest.mark.parametrize("result", [{"metrics": {1, 2}}, {"metrics": "x" * 70_000}])
async def test_a_check_that_is_no_json_is_named(hooked_client: OblixClient, result: object) -> None:
    hooked_client.hook_agent(Judge(result))
    with pytest.raises(InvalidArgumentError) as caught:
        await hooked_client.execute("Hello", stream=False)
    assert caught.value.metadata["field"].startswith("agent_checks.judge")


async def test_an_agent_of_the_same_name_replaces_the_first(hooked_client: OblixClient) -> None:
    hooked_client.hook_agent(Judge({"proceed": False}))
    hooked_client.hook_agent(Judge({"proceed": True}))
    assert len((await hooked_client.execute("Hello", stream=False))["agent_checks"]) == 1


def test_only_agents_can_be_hooked(client: OblixClient) -> None:
    with pytest.raises(InvalidArgumentError, match="agent takes"):
        client.hook_agent(ResourceMonitor)


async def test_thresholds_travel_with_the_prompt(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    strict, lax = hooked_client, OblixClient()
    await lax.hook_model("ollama", "llama2", endpoint=ollama.url)
    everything = {"memory_threshold": 0.0, "critical_memory": 100.0}
    strict.hook_agent(ResourceMonitor("strict", custom_thresholds=everything))
    lax.hook_agent(
        ResourceMonitor("lax", custom_thresholds={"memory_threshold": 100.0, "load_threshold": 1000})
    )
    strict.hook_agent(ConnectivityAgent())
    metrics = await hooked_client.get_resource_metrics()
    while metrics["memory_percent"] is None:  # before the first sample
        metrics = await hooked_client.get_resource_metrics()
    responses = [await one.execute("Hello", stream=False) for one in (strict, lax)]
    checks = [{c["agent"]: c["result"] for c in response["agent_checks"]} for response in responses]
    assert checks[0]["strict"]["state"] in {"constrained", "critical"}  # the latter where the CPU is busy
    assert "(threshold 0 %)" in checks[0]["strict"]["reason"]
    # The last where other tests' servers, which are gone, were all that the shared daemon has looked at.
    assert checks[0]["connectivity_monitor"]["state"] in {"unknown", "optimal", "disconnected"}
    assert "(threshold 1000)" in checks[1]["lax"]["reason"]


async def test_measurements_are_json(client: OblixClient) -> None:
    resources = await client.get_resource_metrics()
    network = await client.get_connectivity_metrics()
    assert {"cpu_percent", "memory_percent", "load_average", "state"} <= set(resources)
    assert {"latency", "packet_loss", "bandwidth", "state"} <= set(network)
    assert json.dumps([resources, network], allow_nan=False)
