"""Where requests go: fills routing's inputs from the other packages, and asks it.

It also remembers where the latest prompts went, and holds the budget against a decision.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from oblix.v1 import executions_pb2, messages_pb2, monitor_pb2, routing_pb2, sessions_pb2

from oblixd.errors import FailedPreconditionError
from oblixd.models import Hook
from oblixd.protobuf_time import duration, seconds_of, timestamp
from oblixd.router.candidates import CandidateBuilder, needs_of, size_of
from oblixd.router.convert import LOCATION
from oblixd.router.cooldown import Cooldowns
from oblixd.router.policies import Policies
from oblixd.router.speeds import Speeds
from oblixd.router.states import Snapshots, StateTracker
from oblixd.routing import Decision, Order, decide
from oblixd.scheduling import ModelSlots
from oblixd.usage import BudgetState, Usage

REMEMBERED_S = 900.0
REMEMBERED = 1000


class RecentPrompts:
    """The last prompts by their request's id: 1,000 of the last 15 minutes."""

    def __init__(self) -> None:
        self._prompts: OrderedDict[str, monitor_pb2.RoutedPrompt] = OrderedDict()

    def add(self, request: executions_pb2.ExecuteRequest, decision: Decision) -> None:
        """Note where a prompt goes."""
        if not decision.verdicts or not decision.verdicts[0].rank:
            return
        first = decision.verdicts[0]
        prompt = monitor_pb2.RoutedPrompt(
            request_id=request.request_id,
            session_id=request.session_id,
            model=first.model,
            location=LOCATION[first.location],
            rule=decision.rule,
            route_time=timestamp(time.time()),
        )
        self._prompts.pop(request.request_id, None)
        self._prompts[request.request_id] = prompt
        self._forget()

    def add_answer(self, request_id: str, model: str, first_token_s: float | None) -> None:
        """Note who answered in the end, and how many seconds its first content took; None: none came."""
        prompt = self._prompts.get(request_id)
        if prompt is None:
            return
        prompt.answered_by = model
        if first_token_s is not None:
            prompt.time_to_first_token.CopyFrom(duration(first_token_s))

    def recent(self, seconds: float) -> list[monitor_pb2.RoutedPrompt]:
        """Return those of the last seconds, oldest first."""
        since_us = (time.time() - min(seconds, REMEMBERED_S)) * 1e6
        return [prompt for prompt in self._prompts.values() if prompt.route_time.ToMicroseconds() >= since_us]

    def _forget(self) -> None:
        oldest_s = time.time() - REMEMBERED_S
        while self._prompts:
            oldest = next(iter(self._prompts.values()))
            if len(self._prompts) <= REMEMBERED and oldest.route_time.seconds >= oldest_s:
                break
            self._prompts.popitem(last=False)


def budget_text(budget: BudgetState) -> str:
    """Say which budget is spent, for a person."""
    return f"the {budget.period}'s cap of {budget.limit:g} {budget.currency} is reached"


def within_budget(budget: BudgetState, decision: Decision, frugal: Decision) -> Decision:
    """Choose between two decisions: one without the budget, one without the models that cost something.

    Raises ResourceExhaustedError BUDGET_SPENT where no model that costs nothing is left,
    and where the configuration says that a prompt which would have gone to another one
    is refused then.
    """
    if not _first_choice(decision):
        return decision
    refuses = budget.action == "refuse" and _first_choice(frugal) != _first_choice(decision)
    if refuses or not _first_choice(frugal):
        raise budget.error()
    return frugal


def _first_choice(decision: Decision) -> str:
    """Return who would be asked first; empty: nobody may."""
    return decision.verdicts[0].key if decision.verdicts and decision.verdicts[0].rank else ""


MAX_CANDIDATES_NAMED = 10
"""Candidates that a refusal tells of; ExplainRoute tells of all."""
MAX_NAMES_LENGTH = 1000
"""Characters of the names of models that a refusal tells."""
_COUNTING = frozenset({Order.COST, Order.SPEED})
"""The orders that go by how much a prompt makes a model read."""


@dataclass(frozen=True, slots=True)
class RouteQuery:
    """A request, and what has to be known of it to say where it goes."""

    request: executions_pb2.ExecuteRequest
    hooks: Sequence[Hook]
    """Where it may go."""
    session: sessions_pb2.Session | None
    """Whose policy and local-only hold, and whose metadata the configuration's rules look at."""
    too_short: Callable[[Hook], bool] | None
    """Says of a model that its context window is too short for the request, which then goes there last. None:
    it goes anywhere."""
    prompt_tokens: Callable[[], int]
    """Estimates what has to be read, history included; asked only where the policy goes by it."""
    deadline_s: float | None = None
    """Seconds that are left. None: no limit."""

    @property
    def local_only(self) -> bool:
        """Whether the request or its session says so. The policy may say so, too."""
        return _is_marked(self.request, self.session)


class Router:
    """Where requests go, by the latest measurements and by what is known of each model. Asks nobody."""

    def __init__(
        self,
        monitor: Snapshots,
        cooldowns: Cooldowns,
        usage: Usage,
        *,
        slots: ModelSlots | None = None,
        policies: Policies | None = None,
    ) -> None:
        self.cooldowns = cooldowns
        self.policies = policies or Policies()
        self.speeds = Speeds()
        """How fast each model answered; its key is the hook's backend."""
        self.state_tracker = StateTracker(monitor)
        self._candidate_builder = CandidateBuilder(cooldowns, slots or ModelSlots(), self.speeds, usage.cost)
        self._usage = usage
        self._prompts = RecentPrompts()

    def route(self, query: RouteQuery) -> Decision:
        """Decide where a request goes, and remember it for `recent`.

        `Decision.local_only` is what holds in the end. Raises InvalidArgumentError for a policy
        that can't be, ResourceExhaustedError BUDGET_SPENT where a cap on spending leaves no model.
        """
        decision = self.explain(query)
        self._prompts.add(query.request, decision)
        return decision

    def explain(self, query: RouteQuery) -> Decision:
        """Return the decision that `route` would make now, remembered nowhere."""
        request, hooks = query.request, query.hooks
        policy, now_s = self.policies.choose(request.policy, query.session), time.monotonic()
        counts = policy.order in _COUNTING or policy.max_cost is not None
        size = size_of(request, query.prompt_tokens() if counts else None)
        networks = {
            origin: self.state_tracker.network(policy.connectivity, origin, now_s)
            for origin in {hook.connection.origin for hook in hooks}
        }
        candidates = [
            self._candidate_builder.candidate(hook, size, networks[hook.connection.origin], query.too_short)
            for hook in hooks
        ]
        needs = needs_of(request, hooks, query.local_only, query.deadline_s)
        situation = self.state_tracker.situation(policy, now_s)
        decision = decide(needs, candidates, situation, policy)
        if (budget := self._usage.reached_budget()) is None:
            return decision
        frugal = decide(replace(needs, spent_budget=budget_text(budget)), candidates, situation, policy)
        return within_budget(budget, decision, frugal)

    def is_local_only(
        self, request: executions_pb2.ExecuteRequest, session: sessions_pb2.Session | None
    ) -> bool:
        """Return whether the request, its session or its policy lets nothing leave this machine."""
        return _is_marked(request, session) or self.policies.is_local_only(request.policy, session)

    def learn(
        self, request_id: str, hook: Hook, message: messages_pb2.Message, sent_tokens: int, *, alone: bool
    ) -> None:
        """Hear of the answer to a routed request: who gave it in the end, when it began, how fast it came.

        `sent_tokens` is what was sent by our count, for servers that tell none. `alone`: no other attempt was
        made, so that all of the answer's time was this model's.
        """
        timings = message.timings
        first_s = None
        if timings.HasField("time_to_first_token"):
            first_s = seconds_of(timings.time_to_first_token)
        self._prompts.add_answer(request_id, hook.id, first_s)
        if alone and first_s is not None:
            read = message.usage.input_tokens or sent_tokens
            self.speeds.record(hook.backend, read, first_s, timings.tokens_per_second)

    def recent(self, seconds: float) -> list[monitor_pb2.RoutedPrompt]:
        """Return where prompts went in the last seconds, at most 15 minutes and 1,000, oldest first."""
        return self._prompts.recent(seconds)

    def check(self, given: routing_pb2.RoutingPolicy) -> None:
        """Raise InvalidArgumentError for a policy that no request may have."""
        if given.ListFields():
            self.policies.choose(given, None)


def ranked_hooks(decision: Decision, hooks: Sequence[Hook]) -> list[Hook]:
    """Return the hooks to try, best first. Raises FailedPreconditionError NO_MODEL_ALLOWED for none."""
    by_key = {hook.key: hook for hook in hooks}
    result = [by_key[verdict.key] for verdict in decision.verdicts if verdict.rank]
    if result:
        return result
    message = f"No model may take this prompt. {_why_none(decision)}"
    raise FailedPreconditionError("NO_MODEL_ALLOWED", message, candidates=len(decision.verdicts))


def _is_marked(request: executions_pb2.ExecuteRequest, session: sessions_pb2.Session | None) -> bool:
    return request.local_only or (session is not None and session.local_only)


def _why_none(decision: Decision) -> str:
    verdicts = decision.verdicts
    if not verdicts:
        return "No model is hooked or configured."
    if all(verdict.rule == "NOT_PINNED" for verdict in verdicts):
        models = ", ".join(dict.fromkeys(verdict.model for verdict in verdicts))
        return (
            f"{verdicts[0].reason} There {'is' if len(verdicts) == 1 else 'are'} {models[:MAX_NAMES_LENGTH]}."
        )
    reasons = " ".join(f"{verdict.model}: {verdict.reason}" for verdict in verdicts[:MAX_CANDIDATES_NAMED])
    return (
        f"{reasons} And {len(verdicts) - MAX_CANDIDATES_NAMED} more."
        if len(verdicts) > MAX_CANDIDATES_NAMED
        else reasons
    )
