"""What a client returns of prompts: answers, routing decisions, executions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar, overload

from oblix.results import Message, Result, Timings, ToolCall, Usage

D = TypeVar("D")
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "unknown"]
ExecutionState = Literal["queued", "running", "completed", "failed", "cancelled", "unknown"]
LocationName = Literal["local", "cloud", "unknown"]
MOST_TURNS = 100
"""Turns that a history has where nobody asks for more."""
NETWORK = frozenset({"reachable", "latency_ms", "packet_loss_percent", "bandwidth_mbps"})
"""The names of the readings that tell of the network."""
_UNITS = {
    "cpu_percent": ("CPU", " %"),
    "memory_percent": ("memory", " %"),
    "load_average": ("load", ""),
    "gpu_percent": ("GPU", " %"),
    "latency_ms": ("latency", " ms"),
    "packet_loss_percent": ("packet loss", " %"),
    "bandwidth_mbps": ("bandwidth", " Mbps"),
}


class AgentChecks(list[dict[str, Any]]):
    """What each agent said: a list of `{"agent": name, "result": {...}}`, in order.

    `get(name)` gives the result of one agent, as programs for the first Oblix expect.
    """

    @overload
    def get(self, name: str) -> dict[str, Any] | None: ...
    @overload
    def get(self, name: str, default: D) -> dict[str, Any] | D: ...
    def get(self, name: str, default: object = None) -> object:
        """Return the result of the agent of this name, or the default."""
        return next((check["result"] for check in self if check["agent"] == name), default)


class Reading(Result, frozen=True):
    """A number that a decision was made on."""

    name: str
    """What was measured, for example `cpu_percent`."""
    value: float
    threshold: float
    """What it was held against."""
    age: float
    """Seconds since it was measured."""

    def __str__(self) -> str:
        """Write it with its unit: `CPU 55.9 % (threshold 80 %)`."""
        if self.name == "reachable":
            return "cloud models can be reached" if self.value else "cloud models can't be reached"
        name, unit = _UNITS.get(self.name, (self.name, ""))
        return f"{name} {round(self.value, 1):g}{unit} (threshold {round(self.threshold, 1):g}{unit})"


class Candidate(Result, frozen=True):
    """What became of one candidate."""

    model: str
    location: LocationName
    rank: int
    """Its place, from 1. 0: it was excluded."""
    rule: str
    """UPPER_SNAKE: the rule that placed or excluded it."""
    reason: str
    """The same for a person."""
    readings: tuple[Reading, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as a routing decision shows it, the readings as `metrics`."""
        names = ("model", "location", "rank", "rule", "reason")
        return {name: getattr(self, name) for name in names} | {"metrics": _values(self.readings)}


class FailedAttempt(Result, frozen=True):
    """A model that was tried before the one that answered."""

    model: str
    reason: str
    """UPPER_SNAKE."""
    detail: str
    """The same for a person."""


class Decision(Result, frozen=True):
    """Why a prompt went where it went."""

    model: str
    """The model that was ranked first, as `provider:name`."""
    rule: str
    """UPPER_SNAKE: the rule that decided."""
    reason: str
    """The same for a person, with the numbers."""
    resource_state: Literal["available", "constrained", "critical", "unknown"] = "unknown"
    resource_target: str = ""
    """What the machine's state asks for: `local_cpu`, `local_gpu` or `cloud`."""
    connectivity_state: Literal["optimal", "degraded", "disconnected", "unknown"] = "unknown"
    connectivity_target: str = ""
    """What the network's state asks for: `local`, `cloud` or `hybrid`."""
    readings: tuple[Reading, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    """Best first, the excluded ones last."""
    policy: str = ""
    policy_source: str = ""
    """Where the policy came from: `request`, `session`, `rule` or `default`."""
    adaptations: tuple[str, ...] = ()
    """What was changed of the request for the model's server. Known once it answered."""

    def to_dict(self, attempts: Sequence[FailedAttempt] = ()) -> dict[str, Any]:
        """Return the `routing_decision` of `OblixClient.execute`. `attempts`: who failed before."""
        network = [reading for reading in self.readings if reading.name in NETWORK]
        machine = [reading for reading in self.readings if reading.name not in NETWORK]
        return {
            "resource_routing": _routing(self.resource_state, self.resource_target, machine),
            "connectivity_routing": _routing(self.connectivity_state, self.connectivity_target, network),
            "model_routing": {
                "state": self.rule,
                "target": self.model,
                "reason": self.reason,
                "policy": self.policy,
                "policy_source": self.policy_source,
                "candidates": [candidate.to_dict() for candidate in self.candidates],
                "failed_attempts": [attempt.to_dict() for attempt in attempts],
                "adaptations": list(self.adaptations),
            },
        }


def _routing(state: str, target: str, readings: Sequence[Reading]) -> dict[str, Any]:
    return {
        "state": state,
        "target": target,
        "reason": ", ".join(map(str, readings)) or "Nothing was measured yet.",
        "metrics": _values(readings),
    }


def _values(readings: Iterable[Reading]) -> dict[str, float]:
    return {reading.name: reading.value for reading in readings}


class ExcludedMessage(Result, frozen=True):
    """A message that a context left out because it is marked."""

    message_id: str
    sequence: int
    reason: str
    detail: str


class ContextReport(Result, frozen=True):
    """What was sent to the model as context, and what was not."""

    sent_messages: int = 0
    sent_tokens: int = 0
    omitted_messages: int = 0
    """Left out because the model's context was full."""
    omitted_tokens: int = 0
    excluded_messages: int = 0
    """Left out because they are marked."""
    excluded: tuple[ExcludedMessage, ...] = ()
    """The newest 100 of them."""
    is_counted: bool = False
    """True: the tokens were counted by the model's own tokeniser. False: they are an estimate."""


class Answer(Result, frozen=True):
    """A whole answer. `str(answer)` is its text."""

    text: str
    model: str
    """The model that wrote it, as `provider:name`."""
    request_id: str
    session_id: str | None
    """None: nothing was recorded."""
    finish_reason: FinishReason
    message: Message
    """It as recorded, with its parts. Without a session it has no id."""
    decision: Decision
    timings: Timings
    usage: Usage | None
    """None: the model's server did not say."""
    context: ContextReport
    failed_attempts: tuple[FailedAttempt, ...] = ()
    """Models that failed before this one answered."""
    agent_checks: AgentChecks = AgentChecks()
    schema_violation: str | None = None
    """How it does not fit the schema that was asked for, for a person."""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the model wants called."""
        return self.message.tool_calls

    @property
    def reasoning(self) -> str:
        """The model's thinking."""
        return self.message.reasoning

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """Return it as `OblixClient.execute` does."""
        response = {
            "request_id": self.request_id,
            "model_id": self.model,
            "response": self.text,
            "metrics": self._metrics(),
            "routing_decision": self.decision.to_dict(self.failed_attempts),
            "agent_checks": self.agent_checks,
        }
        if calls := self.tool_calls:
            response["tool_calls"] = [call.to_dict() for call in calls]
        return response

    def _metrics(self) -> dict[str, Any]:
        usage, context = self.usage, self.context
        counts = usage.to_dict() if usage else {"input_tokens": None, "output_tokens": None}
        counts.pop("cost", None)
        return {
            "time_to_first_token": self.timings.time_to_first_token,
            "tokens_per_second": self.timings.tokens_per_second,
            "latency": self.timings.total,
            # The same, as programs for the first Oblix call it.
            "total_latency": self.timings.total,
            "queued": self.timings.queued,
            **counts,
            "finish_reason": self.finish_reason,
            "sent_messages": context.sent_messages,
            "omitted_messages": context.omitted_messages,
            "omitted_tokens": context.omitted_tokens,
            "schema_violation": self.schema_violation,
            "excluded_messages": context.excluded_messages,
            "excluded": [message.to_dict() for message in context.excluded],
        }


class Embeddings(Result, frozen=True):
    """Texts as vectors: texts of a similar meaning get vectors that point in a similar direction."""

    vectors: tuple[tuple[float, ...], ...]
    """One for each text, in their order; all have the same length."""
    model: str
    """The model that made them, as `provider:name`. Vectors of two models can't be compared."""
    usage: Usage | None
    """None: the model's server did not say."""
    decision: Decision
    failed_attempts: tuple[FailedAttempt, ...] = ()
    """Models that failed before this one answered."""


class Execution(Result, frozen=True):
    """An execution, as a list shows it."""

    request_id: str
    session_id: str | None
    state: ExecutionState
    model_id: str | None
    """None: not chosen yet."""
    created_at: datetime
    ended_at: datetime | None
    delta_bytes: int
    attached_streams: int
    place: int | None
    """Its position among those that wait for the same, from 1. None: it does not wait."""
    waits_for: str | None
    """The model that it waits for. None: its session's turn, or nothing."""
    priority: Literal["interactive", "background"]
    client: str | None
    """Who sent it: its program and process id."""
    error_reason: str | None
    prompt_excerpt: str
    """At most 80 characters."""


class TurnError(Result, frozen=True):
    """With what a turn failed."""

    reason: str
    message: str


class Turn(Result, frozen=True):
    """A turn of a session, with its routing."""

    request_id: str | None
    prompt: str
    timestamp: datetime
    model: str | None
    """That answered. None: none did."""
    decision: Decision | None
    """None: not known any more. A turn that failed without an answer loses it ten minutes later."""
    failed_attempts: tuple[FailedAttempt, ...] = ()
    error: TurnError | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as `OblixClient.explain_session` does."""
        decision = self.decision.to_dict(self.failed_attempts) if self.decision else None
        shown = super().to_dict() | {"routing_decision": decision}
        return {name: value for name, value in shown.items() if name not in ("decision", "failed_attempts")}
