"""What an agent is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oblix._convert.validation import invalid, text

MAX_NAME = 128


class BaseAgent:
    """Something that is asked before a prompt is sent. Subclass it and write `check`.

    Hook it with `OblixClient.hook_agent`. It runs in your program, in the event
    loop that executes the prompt; what it says is part of the answer.
    """

    check_timeout: float = 5.0
    """Seconds that `initialize` and `check` may take together. Over it, the prompt goes on without the agent,
    and its result says so; as it does where the agent raises."""

    def __init__(self, name: str) -> None:
        """Name the agent: 1 to 128 characters, unique in its client."""
        self.name = text(name, "name")
        self.is_active = False
        if not 1 <= len(name) <= MAX_NAME:
            raise invalid("name", f"1 to {MAX_NAME} characters", f"{len(name)}")

    async def initialize(self) -> bool:
        """Get ready. Awaited once, before the first check."""
        self.is_active = True
        return True

    async def check(self, **kwargs: Any) -> Mapping[str, Any]:
        """Say whether a prompt may go, and what you found.

        `kwargs` holds `prompt`, `session_id`, `request_id`, `temperature` and
        `max_tokens`; take the rest as `**kwargs`, for there may be more.

        Returns a dict of JSON values, at most 64 KiB: `proceed` (False stops the
        execution with AgentRefusedError), and, as far as it makes sense,
        `state`, `target`, `reason` and `metrics`. A `target` of `local`, `cloud`
        or a model as `provider:name` is favoured by the daemon's routing, below
        a pin, local-only and what can't answer; the first agent that has one counts.
        One that is neither of these nor a candidate counts for nothing, and a `note` in
        the answer's result says so. Where something else than a dict is returned, the prompt
        goes on without the agent, and its result says that.

        Do not block: nothing else of the program's event loop runs meanwhile, and
        `check_timeout` can't end it. Hand such work to `asyncio.to_thread`.
        """
        raise NotImplementedError(f"{type(self).__name__} has to say what `check` does")

    async def shutdown(self) -> None:
        """Let go of what `initialize` took. Awaited by `OblixClient.shutdown`."""
        self.is_active = False


class PolicyAgent(BaseAgent):
    """An agent that holds thresholds: the daemon measures, and says what it found by them."""

    routing: str
    """The part of the routing decision that these thresholds shaped."""

    def assess(self, routing_decision: Mapping[str, Any]) -> dict[str, Any]:
        """Read this agent's check from the decision that its thresholds shaped."""
        found = routing_decision.get(self.routing, {})
        return {
            "proceed": True,
            "state": found.get("state", "unknown"),
            "target": found.get("target", ""),
            "reason": found.get("reason", "Nothing was measured yet."),
            "metrics": dict(found.get("metrics", {})),
        }

    async def check(self, **kwargs: Any) -> dict[str, Any]:
        """Assess `routing_decision`, as found in an answer; without one the state is `unknown`."""
        return self.assess(kwargs.get("routing_decision") or {})
