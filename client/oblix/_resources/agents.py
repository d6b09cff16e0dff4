"""The agents that a client hooked: who is asked, and which thresholds travel."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from oblix._convert.validation import describe, invalid
from oblix._convert.values import from_struct, to_struct
from oblix.agents import BaseAgent, ConnectivityAgent, ResourceMonitor
from oblix.agents.base import PolicyAgent
from oblix.errors import AgentRefusedError
from oblix.v1 import routing_pb2


class Agents:
    """Agents by name, in the order in which they were hooked. One that is hooked under a name replaces it."""

    def __init__(self) -> None:
        self._agents: dict[str, BaseAgent] = {}
        self._ready: dict[BaseAgent, Future[None]] = {}

    def add(self, agent: object) -> None:
        """Add an agent. Raises InvalidArgumentError for anything else."""
        if not isinstance(agent, BaseAgent):
            raise invalid("agent", "an instance of oblix.agents.BaseAgent", describe(agent))
        self._agents[agent.name] = agent

    @property
    def has_any(self) -> bool:
        """Whether an agent is hooked."""
        return bool(self._agents)

    @property
    def has_checks(self) -> bool:
        """Whether an agent is hooked that has to be asked."""
        return any(not isinstance(agent, PolicyAgent) for agent in self._agents.values())

    def policy(self) -> routing_pb2.RoutingPolicy:
        """Return the thresholds that hooked policy agents name; the daemon has defaults for the others."""
        policy = routing_pb2.RoutingPolicy()
        for agent in list(self._agents.values()):
            if isinstance(agent, ResourceMonitor):
                policy.resources.CopyFrom(routing_pb2.ResourcePolicy(**agent.custom_thresholds))
            elif isinstance(agent, ConnectivityAgent):
                policy.connectivity.CopyFrom(_connectivity_policy(agent))
        return policy

    async def check(self, **about: Any) -> list[routing_pb2.AgentCheck]:
        """Ask the program's own agents, in order. Raises AgentRefusedError where one says no."""
        asked = [agent for agent in self._agents.values() if not isinstance(agent, PolicyAgent)]
        return [await self._check(agent, about) for agent in asked]

    def report(
        self, routing_decision: Mapping[str, Any], checks: list[routing_pb2.AgentCheck]
    ) -> list[dict[str, Any]]:
        """Return each agent's own check, or what its thresholds made of the daemon's measurements."""
        own = {check.agent: check_report(check, routing_decision) for check in checks}
        policies = [agent for agent in self._agents.values() if isinstance(agent, PolicyAgent)]
        results = own | {agent.name: agent.assess(routing_decision) for agent in policies}
        return [{"agent": name, "result": results[name]} for name in self._agents if name in results]

    async def shutdown(self) -> None:
        """Shut down the agents that were initialized."""
        while self._ready:
            agent, _ = self._ready.popitem()
            await agent.shutdown()

    async def _check(self, agent: BaseAgent, about: Mapping[str, Any]) -> routing_pb2.AgentCheck:
        result = await self._answer_of(agent, about)
        if not result.get("proceed", True):
            raise _refusal(agent, result.get("reason") or "it gave no reason")
        return routing_pb2.AgentCheck(
            agent=agent.name, result=to_struct(result, f"agent_checks.{agent.name}")
        )

    async def _answer_of(self, agent: BaseAgent, about: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what an agent says; a note in its place where it fails, or takes longer than it may."""
        asked = asyncio.create_task(self._ask(agent, about))
        asked.add_done_callback(_heard)
        try:
            # Not asyncio.timeout: that would wait for an agent that holds on when it is cancelled.
            await asyncio.wait([asked], timeout=agent.check_timeout)
        finally:
            asked.cancel()
        if not asked.done():
            return _note(f"It did not answer within its check_timeout, {agent.check_timeout:g} s.")
        try:
            result = asked.result()
        except Exception as error:  # noqa: BLE001 - a program's own agent may fail in any way
            return _note(f"It failed: {describe(error)}.")
        if not isinstance(result, Mapping):
            return _note(f"Its check has to return a dict; it returned {describe(result)}.")
        return result

    async def _ask(self, agent: BaseAgent, about: Mapping[str, Any]) -> object:
        await self._initialize(agent)
        return await agent.check(**about)

    async def _initialize(self, agent: BaseAgent) -> None:
        """Once for each agent, whichever event loop comes first; the others wait."""
        mine: Future[None] = Future()
        ready = self._ready.setdefault(agent, mine)
        if ready is not mine:
            await asyncio.shield(asyncio.wrap_future(ready))
            return
        try:
            await agent.initialize()
        except BaseException as error:
            del self._ready[agent]
            mine.set_exception(error)
            raise
        mine.set_result(None)


def check_report(check: routing_pb2.AgentCheck, routing_decision: Mapping[str, Any]) -> dict[str, Any]:
    """Return a check as the answer has it, with a `note` where routing can't favour its target."""
    result: dict[str, Any] = from_struct(check.result)
    models = [candidate["model"] for candidate in routing_decision["model_routing"]["candidates"]]
    target = result.get("target")
    if target and target not in ("local", "cloud", *models):
        note = f"The target {describe(target)} is neither local, cloud nor a model that was a candidate."
        result = {"note": f"{note} It counted for nothing."} | result
    return result


def _refusal(agent: BaseAgent, why: str) -> AgentRefusedError:
    message = f"The agent {agent.name} stopped the execution: {why}"
    return AgentRefusedError(message, reason="AGENT_REFUSED", metadata={"agent": agent.name})


def _note(what: str) -> dict[str, Any]:
    """Return the check of an agent that said nothing: the prompt goes on, and its answer tells."""
    return {"proceed": True, "state": "unknown", "reason": f"{what} The prompt went on without it."}


def _heard(task: asyncio.Task[object]) -> None:
    """Look at how a check ended that nobody waits for any more: else asyncio complains."""
    if not task.cancelled():
        task.exception()


def _connectivity_policy(agent: ConnectivityAgent) -> routing_pb2.ConnectivityPolicy:
    return routing_pb2.ConnectivityPolicy(
        latency_threshold=agent.latency_threshold,
        packet_loss_threshold=agent.packet_loss_threshold,
        bandwidth_threshold=agent.bandwidth_threshold,
    )
