"""What executions teach routing, and what it then does: the whole way, on real parts."""

from __future__ import annotations

import pytest
from oblix.testing import OllamaServer
from oblix.v1 import routing_pb2
from support.drivers.execution import Harness, prompt

from oblixd.errors import FailedPreconditionError

FASTEST = routing_pb2.RoutingPolicy(name="fastest")


async def time_answer(harness: Harness, *hooks: str, **fields: object):
    """Runs a prompt to its end. Returns what its first and its last event tell."""
    events = [event async for event in harness.executions.execute(prompt("Hello", *hooks, **fields))]
    return next(event.started for event in events if event.WhichOneof("event") == "started"), events[
        -1
    ].completed


async def test_an_answer_teaches_how_fast_its_model_is(harness: Harness, server: OllamaServer):
    hook = harness.hook(server)
    before = harness.executions.explain(prompt("Hello", hook, policy=FASTEST))
    assert "has not answered lately" in before.candidates[0].reason
    await time_answer(harness, hook)
    after = harness.executions.explain(prompt("Hello", hook, policy=FASTEST))
    assert (after.policy, after.policy_source) == ("fastest", "request")
    assert "answer_seconds" in [reading.name for reading in after.candidates[0].readings]


async def test_where_prompts_went_is_remembered_and_an_explanation_is_not(
    harness: Harness, server: OllamaServer
):
    hook = harness.hook(server)
    harness.executions.explain(prompt("Hello", hook))
    assert harness.executions.router.recent(60.0) == []
    started, completed = await time_answer(harness, hook)
    (routed,) = harness.executions.router.recent(60.0)
    assert (routed.request_id, routed.model) == (started.request_id, "ollama:llama2")
    assert routed.answered_by == completed.message.model
    assert routed.HasField("time_to_first_token")


async def test_a_private_session_is_local_only_whatever_the_request_names(
    harness: Harness, server: OllamaServer
):
    session_id = await harness.session(routing_policy="private")
    hook = harness.hook(server)
    cheap = routing_pb2.RoutingPolicy(name="cheapest")
    started, _ = await time_answer(harness, hook, session_id=session_id, policy=cheap)
    assert started.decision.rule == "LOCAL_ONLY"
    assert (started.decision.policy, started.decision.policy_source) == ("cheapest", "request")
    far = harness.hook(server, "gpt-oss:120b-cloud")
    with pytest.raises(FailedPreconditionError, match="local-only") as refused:
        await time_answer(harness, far, session_id=session_id)
    assert refused.value.reason == "NO_MODEL_ALLOWED"


async def test_the_recorded_answer_keeps_policy_and_numbers(harness: Harness, server: OllamaServer):
    session_id = await harness.session(routing_policy="prefer-local")
    started, _ = await time_answer(harness, harness.hook(server), session_id=session_id)
    messages, _ = harness.sessions.messages(session_id, page_size=0, page_token="", newest_first=False)
    assert messages[-1].decision == started.decision
    assert (messages[-1].decision.policy, messages[-1].decision.policy_source) == ("prefer-local", "session")
