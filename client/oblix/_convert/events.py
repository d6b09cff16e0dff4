"""An execution's events as Python sees them, and the response that sums them up.

The numbers that a decision was made on, for a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from google.protobuf.descriptor import EnumDescriptor

from oblix import events
from oblix._convert.records import seconds_of, text_of
from oblix._convert.tools import calls_of
from oblix._resources.agents import Agents, check_report
from oblix.v1 import executions_pb2, routing_pb2

_WORDS = {
    "cpu_percent": ("CPU", " %"),
    "memory_percent": ("memory", " %"),
    "load_average": ("load", ""),
    "gpu_percent": ("GPU", " %"),
    "latency_ms": ("latency", " ms"),
    "packet_loss_percent": ("packet loss", " %"),
    "bandwidth_mbps": ("bandwidth", " Mbps"),
}
NETWORK = {"reachable", "latency_ms", "packet_loss_percent", "bandwidth_mbps"}
"""The names of those that tell of the network."""


def reading_text(reading: routing_pb2.Reading) -> str:
    """Return a number in its unit, to one decimal, and its threshold: `CPU 55.9 % (threshold 80 %)`."""
    if reading.name == "reachable":
        return "cloud models can be reached" if reading.value else "cloud models can't be reached"
    name, unit = _WORDS.get(reading.name, (reading.name, ""))
    return f"{name} {_short(reading.value)}{unit} (threshold {_short(reading.threshold)}{unit})"


def _short(value: float) -> str:
    return f"{round(value, 1):g}"


_KINDS: dict[int, Literal["reasoning", "tool_call"]] = {
    executions_pb2.DELTA_KIND_REASONING: "reasoning",
    executions_pb2.DELTA_KIND_TOOL_CALL: "tool_call",
}


class Answer:
    """Translates one execution's events. Remembers of the first what the last has to repeat."""

    def __init__(self, agents: Agents, checks: list[routing_pb2.AgentCheck]) -> None:
        self._agents = agents
        self._checks = checks
        self._decision = decision_of(routing_pb2.RoutingDecision())
        self._said: list[dict[str, Any]] = []

    def event(self, response: executions_pb2.ExecuteResponse) -> events.Event | None:
        """Return the event, or None for one of a kind that this client does not know."""
        match response.WhichOneof("event"):
            case "queued":
                waits = response.queued
                return events.Queued(waits.request_id, waits.place, waits.model or None)
            case "started":
                return self._start(response.started)
            case "delta":
                # A provider's signature of its reasoning is nothing to show.
                is_seal = response.delta.signature or response.delta.redacted
                return None if is_seal else _delta(response.delta)
            case "rerouted":
                moved = response.rerouted
                return events.Rerouted(moved.from_model, moved.to_model, moved.reason, moved.detail)
            case "completed":
                return self._completion(response.completed)
        return None

    def _start(self, started: executions_pb2.ExecutionStarted) -> events.Started:
        self._decision = decision_of(started.decision)
        self._said = self._agents.report(self._decision, self._checks)
        ours = {said["agent"] for said in self._said}
        # Those of the program that started it, where it is another one.
        self._said += [
            {"agent": check.agent, "result": check_report(check, self._decision)}
            for check in started.agent_checks
            if check.agent not in ours
        ]
        session_id = started.session_id or None
        model_id = started.decision.model
        return events.Started(started.request_id, session_id, model_id, self._decision, self._said)

    def _completion(self, completed: executions_pb2.ExecutionCompleted) -> events.Completed:
        failed = failed_of(completed.failed_attempts)
        adaptations = list(completed.message.decision.adaptations)
        told = {"failed_attempts": failed, "adaptations": adaptations}
        model_routing = self._decision["model_routing"] | told
        response = {
            "request_id": completed.request_id,
            "model_id": completed.message.model,
            "response": text_of(completed.message),
            "metrics": _metrics(completed),
            "routing_decision": self._decision | {"model_routing": model_routing},
            "agent_checks": self._said,
        }
        if calls := calls_of(completed.message):
            response["tool_calls"] = calls
        finish_reason = name_of(executions_pb2.FinishReason.DESCRIPTOR, completed.finish_reason)
        return events.Completed(completed.request_id, completed.session_id or None, finish_reason, response)


def failed_of(attempts: Iterable[executions_pb2.FailedAttempt]) -> list[dict[str, Any]]:
    """Return the models that failed before one answered, in order."""
    return [{"model": one.model, "reason": one.reason, "detail": one.detail} for one in attempts]


def decision_of(
    decision: routing_pb2.RoutingDecision, failed: Iterable[executions_pb2.FailedAttempt] = ()
) -> dict[str, dict[str, Any]]:
    """Return a routing decision: what machine and network asked for, and what became of every candidate.

    `failed`: who failed before one answered, as far as it is known.
    """
    resources = name_of(routing_pb2.ResourceState.DESCRIPTOR, decision.resource_state)
    network = name_of(routing_pb2.ConnectivityState.DESCRIPTOR, decision.connectivity_state)
    of_network = [reading for reading in decision.readings if reading.name in NETWORK]
    of_machine = [reading for reading in decision.readings if reading.name not in NETWORK]
    return {
        "resource_routing": _routing(resources, decision.resource_target, of_machine),
        "connectivity_routing": _routing(network, decision.connectivity_target, of_network),
        "model_routing": {
            "state": decision.rule,
            "target": decision.model,
            "reason": decision.reason,
            "policy": decision.policy,
            "policy_source": decision.policy_source,
            "candidates": [_candidate(verdict) for verdict in decision.candidates],
            "failed_attempts": failed_of(failed),
            "adaptations": list(decision.adaptations),
        },
    }


def _routing(state: str, target: str, readings: Sequence[routing_pb2.Reading]) -> dict[str, Any]:
    return {
        "state": state,
        "target": target,
        "reason": ", ".join(map(reading_text, readings)) or "Nothing was measured yet.",
        "metrics": {reading.name: reading.value for reading in readings},
    }


def _candidate(verdict: routing_pb2.CandidateVerdict) -> dict[str, Any]:
    return {
        "model": verdict.model,
        "location": name_of(routing_pb2.Location.DESCRIPTOR, verdict.location),
        "rank": verdict.rank,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "metrics": {reading.name: reading.value for reading in verdict.readings},
    }


def _delta(delta: executions_pb2.ExecutionDelta) -> events.Delta:
    call = delta.tool_call
    return events.Delta(delta.text, _KINDS.get(delta.kind, "text"), delta.offset, call.call_id, call.name)


_DETAILS: tuple[Literal["cache_read_tokens", "cache_write_tokens", "reasoning_tokens"], ...] = (
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)
"""Counts that only some servers tell. They are part of the input's and the output's."""


def _metrics(completed: executions_pb2.ExecutionCompleted) -> dict[str, Any]:
    message, context = completed.message, completed.context
    timings = message.timings
    usage = message.usage if message.HasField("usage") else None
    has_content = timings.HasField("time_to_first_token")
    return {
        "time_to_first_token": seconds_of(timings.time_to_first_token) if has_content else None,
        "tokens_per_second": timings.tokens_per_second or None,
        "latency": seconds_of(timings.total),
        "queued": seconds_of(timings.queued),
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        **{name: getattr(usage, name) for name in _DETAILS if usage and usage.HasField(name)},
        "finish_reason": name_of(executions_pb2.FinishReason.DESCRIPTOR, completed.finish_reason),
        "sent_messages": context.sent_messages,
        "omitted_messages": context.omitted_messages,
        "omitted_tokens": context.omitted_tokens,
        "schema_violation": completed.schema_violation or None,
        "excluded_messages": context.excluded_messages,
        "excluded": [_excluded(message) for message in context.excluded],
    }


def _excluded(message: executions_pb2.ExcludedMessage) -> dict[str, Any]:
    """Return a message that a context left out because it is marked."""
    return {
        "message_id": message.message_id,
        "sequence": message.sequence,
        "reason": message.exclusion.reason,
        "detail": message.exclusion.detail,
    }


def name_of(kind: EnumDescriptor, number: int) -> str:
    """Return a value's name as Python shows it: in lower case, without what all of its kind begin with."""
    value = kind.values_by_number.get(number)
    if value is None or number == 0:
        return "unknown"
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return value.name.removeprefix(prefix).lower()
