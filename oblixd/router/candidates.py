"""What routing is to know of a request and of each model that could take it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import astuple
from oblix.v1 import executions_pb2

from oblixd.models import Hook, State, Status, estimate
from oblixd.models import Location as HookLocation
from oblixd.monitor import Snapshot
from oblixd.router.cooldown import Cooldowns
from oblixd.router.speeds import Speeds
from oblixd.routing import Candidate, Location, Needs, NetworkState
from oblixd.scheduling import ModelSlots
from oblixd.usage import Price as OwnPrice

ANSWER_TOKENS = 500
"""How long an answer is taken to be, for its price and its time, where the request sets no max_tokens."""
_TARGETS = {"local_cpu": "local", "local_gpu": "local"}
"""The documented targets of agents that mean the same here."""


class Price(Protocol):
    """What a model takes for so many tokens of prompt and of answer; None where its price is not known."""

    def __call__(
        self, model: str, input_tokens: int, output_tokens: int, /, *, is_local: bool, own: OwnPrice | None
    ) -> float | None: ...


def price_of(hook: Hook) -> OwnPrice | None:
    """Return the price that a model was hooked with. None: the configuration's counts."""
    own = hook.spec.options.price
    return OwnPrice(*astuple(own)) if own else None


@dataclass(frozen=True, slots=True)
class Size:
    """How much a request makes a model read and write, in tokens."""

    prompt: int
    answer: int


def needs_of(
    request: executions_pb2.ExecuteRequest, hooks: Sequence[Hook], local_only: bool, deadline_s: float | None
) -> Needs:
    """Return what a request asks for. `local_only`: what it or its session says; `deadline_s`: seconds that
    are left of its time. A pin by an alias of one of the hooks is a pin of that model."""
    agent, target = _favoured_target(request)
    return Needs(
        local_only=local_only,
        pin=_resolve_pin(request.model, hooks),
        tools=bool(request.tools),
        images=any(part.HasField("image") for message in request.input for part in message.parts),
        deadline_s=deadline_s,
        target=target,
        agent=agent,
    )


def _resolve_pin(model: str, hooks: Sequence[Hook]) -> str:
    named = (hook.id for hook in hooks if model in hook.spec.options.aliases)
    return next(named, model) if model else ""


def size_of(request: executions_pb2.ExecuteRequest, prompt_tokens: int | None) -> Size:
    """`prompt_tokens` None: the input alone, estimated."""
    given = request.options.max_tokens if request.options.HasField("max_tokens") else ANSWER_TOKENS
    prompt = sum(map(estimate, request.input)) if prompt_tokens is None else prompt_tokens
    return Size(prompt, given)


def _favoured_target(request: executions_pb2.ExecuteRequest) -> tuple[str, str]:
    """Return the first agent that favours a target, and the target; empty where none does."""
    for check in request.agent_checks:
        target = check.result.fields["target"].string_value if "target" in check.result.fields else ""
        target = _TARGETS.get(target, target)
        if target in {"local", "cloud"} or ":" in target:
            return check.agent, target
    return "", ""


@dataclass(frozen=True, slots=True)
class CandidateBuilder:
    """The parts of the daemon that know something of a model."""

    cooldowns: Cooldowns
    slots: ModelSlots
    speeds: Speeds
    price: Price

    def candidate(
        self, hook: Hook, size: Size, network: NetworkState, too_short: Callable[[Hook], bool] | None
    ) -> Candidate:
        """Return all that is known of a model now. Asks nobody."""
        connection, status = hook.connection, hook.connection.status()
        is_local = connection.location is HookLocation.LOCAL
        load = self.slots.load(hook.backend)
        why = self._unavailable(hook, status)
        cost = self._cost(hook, size)
        return Candidate(
            key=hook.key,
            model=hook.id,
            location=Location.LOCAL if is_local else Location.CLOUD,
            available=not why,
            unavailable_reason=why,
            network=network,
            waiting_count=load.waiting_count,
            waiting_limit=load.waiting_count if load.is_full else None,
            # Prompts that have to end before one that comes now could begin.
            ahead=max(0, load.running_count + load.waiting_count + 1 - hook.most_running),
            memory_bytes=(connection.memory_bytes or None) if status.state is State.IDLE else None,
            context_window=connection.context_window,
            fits=None if too_short is None else not too_short(hook),
            has_tools=_has_feature(hook, "tools"),
            has_images=_has_feature(hook, "images"),
            is_free=cost == 0 and self._cost(hook, Size(1, 1)) == 0,
            cost=cost,
            seconds=self.speeds.estimate(hook.backend, size.prompt, size.answer),
        )

    def _cost(self, hook: Hook, size: Size) -> float | None:
        is_local = hook.connection.location is HookLocation.LOCAL
        return self.price(hook.id, size.prompt, size.answer, is_local=is_local, own=price_of(hook))

    def _unavailable(self, hook: Hook, status: Status) -> str:
        """Say why it can't answer just now; empty if it can."""
        if status.state is State.UNAVAILABLE:
            return status.reason or "It can't answer just now."
        if cooldown := self.cooldowns.find(hook.key):
            return f"It cools down for {cooldown.left_s:.0f} s more, after failures: {cooldown.why}"
        if (limited_s := hook.connection.limited_s) > 0:
            return f"Its server's rate limit lets nothing through for {limited_s:.0f} s more."
        return ""


def _has_feature(hook: Hook, feature: str) -> bool | None:
    features = hook.connection.features
    return feature in features if features else None


@dataclass(frozen=True, slots=True)
class ModelStats:
    """A model's queue and speed."""

    waiting_count: int
    """Prompts that wait for a slot at it."""
    tokens_per_second: float
    """Of the answers it gave lately. 0: not known."""
    time_to_first_token_s: float | None
    """Of its last answer. None: there was none lately."""
    unreachable_reason: str
    """Why its server can't be reached, as the network showed. Empty: it can, or that is not known."""


def model_stats(hook: Hook, slots: ModelSlots, speeds: Speeds, now: Snapshot) -> ModelStats:
    """Return the queue and the speed of a model at its server, whoever hooked it."""
    way = now.endpoints.get(hook.connection.origin)
    return ModelStats(
        unreachable_reason=way.reason or "It can't be reached."
        if way is not None and way.reachable is False
        else "",
        waiting_count=slots.load(hook.backend).waiting_count,
        tokens_per_second=speeds.tokens_per_second(hook.backend) or 0.0,
        time_to_first_token_s=speeds.last_first_token_s(hook.backend),
    )
