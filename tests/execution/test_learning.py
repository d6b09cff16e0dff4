"""What executions teach routing, and what it then does: the whole way, on real parts."""

from __future__ import annotations

import pytest
from oblix.testing import OllamaServer
from oblix.v1 import routing_pb2
from support.house import House, prompt

from oblixd.errors import FailedPreconditionError

FASTEST = routing_pb2.RoutingPolicy(name="fastest")


async def answered(house: House, *hooks: str, **fields: object):
    """Runs a prompt to its end. Returns what its first and its last event tell."""
    events = [event async for event in house.executions.execute(prompt("Hello", *hooks, **fields))]
    return next(event.started for event in events if event.WhichOneof("event") == "started"), events[
        -1
    ].completed


async def test_an_answer_teaches_how_fast_its_model_is(house: House, server: OllamaServer):
    hook = house.hook(server)
    before = house.executions.explain(prompt("Hello", hook, policy=FASTEST))
    assert "has not answered lately" in before.candidates[0].reason
    await answered(house, hook)
    after = house.executions.explain(prompt("Hello", hook, policy=FASTEST))
    assert (after.policy, after.policy_source) == ("fastest", "request")
    assert "answer_seconds" in [reading.name for reading in after.candidates[0].readings]


async def test_where_prompts_went_is_remembered_and_an_explanation_is_not(house: House, server: OllamaServer):
    hook = house.hook(server)
    house.executions.explain(prompt("Hello", hook))
    assert house.executions.router.recent(60.0) == []
    started, completed = await answered(house, hook)
    (routed,) = house.executions.router.recent(60.0)
    assert (routed.request_id, routed.model) == (started.request_id, "ollama:llama2")
    assert routed.answered_by == completed.message.model
    assert routed.HasField("time_to_first_token")


async def test_a_private_session_is_local_only_whatever_the_request_names(house: House, server: OllamaServer):
    session_id = await house.session(routing_policy="private")
    hook = house.hook(server)
    cheap = routing_pb2.RoutingPolicy(name="cheapest")
    started, _ = await answered(house, hook, session_id=session_id, policy=cheap)
    assert started.decision.rule == "LOCAL_ONLY"
    assert (started.decision.policy, started.decision.policy_source) == ("cheapest", "request")
    far = house.hook(server, "gpt-oss:120b-cloud")
    with pytest.raises(FailedPreconditionError, match="local-only") as refused:
        await answered(house, far, session_id=session_id)
    assert refused.value.reason == "NO_MODEL_ALLOWED"


async def test_the_recorded_answer_keeps_policy_and_numbers(house: House, server: OllamaServer):
    session_id = await house.session(routing_policy="prefer-local")
    started, _ = await answered(house, house.hook(server), session_id=session_id)
    messages, _ = house.sessions.messages(session_id, page_size=0, page_token="", newest_first=False)
    assert messages[-1].decision == started.decision
    assert (messages[-1].decision.policy, messages[-1].decision.policy_source) == ("prefer-local", "session")
