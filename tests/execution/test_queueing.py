"""Executions that wait for a place at a model."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from unittest.mock import Mock

from oblix.testing import Answer, OllamaServer, OpenAIServer, Refuse, Stall
from oblix.v1 import executions_pb2
from support.drivers.events import all_of, error_of, text_of, until
from support.drivers.execution import CLIENT, Harness, prompt

from oblixd.errors import OblixdError, UnavailableError
from oblixd.execution.services import ClientInfo
from oblixd.models import hook_spec
from oblixd.models.http.server import Server, ServerErrors


def hook_one_place(harness: Harness, server: OllamaServer) -> str:
    """A model that takes one prompt at a time."""
    spec = hook_spec.spec_of("ollama", "llama2", endpoint=server.url, options={"max_running": 1})
    return harness.registry.hook(CLIENT, spec).handle


async def test_a_waiting_prompt_sees_its_position_and_then_its_answer(
    harness: Harness, server: OllamaServer
) -> None:
    handle = hook_one_place(harness, server)
    server.script(Answer("a b", fault=Stall(after=1)))
    async with aclosing(harness.executions.execute(prompt("Long", handle, request_id="long"))) as first:
        await until(first, "delta")
        waiting = harness.executions.execute(prompt("Short", handle, request_id="short"))
        started, queued = await anext(waiting), await anext(waiting)
        assert started.WhichOneof("event") == "started"
        assert (queued.queued.place, queued.queued.model) == (1, "ollama:llama2")
        listed = harness.executions.list("")[1]
        assert (listed.state, listed.place) == (executions_pb2.EXECUTION_STATE_QUEUED, 1)
        assert listed.waits_for_model == "ollama:llama2"
        await harness.executions.cancel("long")
        rest = await all_of(waiting)
    assert text_of(rest)
    timings = rest[-1].completed.message.timings
    assert timings.queued.ToNanoseconds() > 0
    assert timings.time_to_first_token.ToNanoseconds() >= 0


async def test_a_hundred_agents_reach_a_server_that_names_no_limit(harness: Harness) -> None:
    with OpenAIServer() as openai:
        openai.script(*[Answer("a b", fault=Stall(after=1))] * 100)
        spec = hook_spec.spec_of("openai", "gpt-4o-mini", endpoint=openai.url, api_key="sk-x")
        handle = harness.registry.hook(CLIENT, spec).handle
        async with AsyncExitStack() as agents:
            for number in range(100):
                asked = harness.executions.execute(prompt("Long", handle, request_id=f"agent {number}"))
                await until(await agents.enter_async_context(aclosing(asked)), "delta")
            assert harness.registry.hook(CLIENT, spec).connection.running == 100


async def test_there_are_connections_for_every_slot_so_that_nobody_waits_unseen(harness: Harness) -> None:
    spec = hook_spec.spec_of("openai", "gpt-4o", endpoint="http://127.0.0.1:1", api_key="sk-x")
    server = Server(ServerErrors("It", spec.endpoint), spec.endpoint)
    assert harness.registry.hook(CLIENT, spec).most_running < server.max_connections


async def test_a_prompt_that_leaves_the_queue_never_reaches_the_model(
    harness: Harness, server: OllamaServer
) -> None:
    handle = hook_one_place(harness, server)
    server.script(Answer("a b", fault=Stall(after=1)))
    async with aclosing(harness.executions.execute(prompt("Long", handle, request_id="long"))) as first:
        await until(first, "delta")
        waiting = harness.executions.execute(prompt("Short", handle, request_id="short"))
        await until(waiting, "queued")
        cancelled = await harness.executions.cancel("short")
        assert cancelled.state == executions_pb2.EXECUTION_STATE_CANCELLED
        await waiting.aclose()
    assert len(server.requests) == 1


async def test_one_client_with_many_prompts_does_not_make_another_wait_for_all(
    harness: Harness, server: OllamaServer
) -> None:
    handle = hook_one_place(harness, server)
    answered: list[str] = []

    async def ask(client: str, name: str) -> None:
        await all_of(harness.executions.execute(prompt(name, handle, request_id=name), ClientInfo(client)))
        answered.append(name)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(ask("greedy", f"many {number}"))
        await asyncio.sleep(0)
        group.create_task(ask("modest", "one"))
    assert answered.index("one") <= 2


async def test_background_prompts_go_last(harness: Harness, server: OllamaServer) -> None:
    handle = hook_one_place(harness, server)
    answered: list[str] = []

    async def ask(name: str, priority: executions_pb2.Priority.ValueType) -> None:
        await all_of(harness.executions.execute(prompt(name, handle, request_id=name, priority=priority)))
        answered.append(name)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(ask(f"background {number}", executions_pb2.PRIORITY_BACKGROUND))
        for number in range(3):
            group.create_task(ask(f"interactive {number}", executions_pb2.PRIORITY_INTERACTIVE))
    assert answered[-2:] == ["background 1", "background 2"]


async def test_a_waiting_prompt_keeps_its_model_after_its_client_left(
    harness: Harness, server: OllamaServer
) -> None:
    handle = hook_one_place(harness, server)
    server.script(Answer("a b", fault=Stall(after=1)))
    async with aclosing(harness.executions.execute(prompt("Long", handle, request_id="long"))) as first:
        await until(first, "delta")
        waiting = harness.executions.execute(prompt("Short", handle, request_id="short"))
        await until(waiting, "queued")
        harness.registry.unhook(CLIENT, handle)
        await harness.executions.cancel("long")
        assert text_of(await all_of(waiting))


async def test_at_a_drain_who_waits_is_told_at_once_and_may_ask_the_next_daemon(
    harness: Harness, server: OllamaServer
) -> None:
    """Whose question is recorded goes on waiting for its model, until the grace is over."""
    handle = hook_one_place(harness, server)
    server.script(Answer("a b", fault=Stall(after=1)))
    session = await harness.session()
    executions = harness.executions
    async with aclosing(executions.execute(prompt("Long", handle, request_id="long"))) as first:
        await until(first, "delta")
        waiting = executions.execute(prompt("Short", handle, request_id="short"))
        recorded = executions.execute(prompt("Kept", handle, request_id="kept", session_id=session))
        await until(waiting, "queued")
        await until(recorded, "queued")
        draining = asyncio.create_task(executions.drain(60))
        error = await error_of(waiting, UnavailableError)
        assert error.reason == "DAEMON_STOPPING"
        assert {one.request_id for one in executions.list("")} == {"long", "kept"}
        await executions.cancel("long")
        assert text_of(await all_of(recorded)) == "You said: Kept"
        await draining
    assert len(server.requests) == 2


async def test_an_error_holds_none_of_the_frames_that_it_passed_through(
    harness: Harness, server: OllamaServer
) -> None:
    """They hold the prompt and the connection, and the error is kept for ten minutes."""
    server.default = lambda _: Answer(fault=Refuse(400))
    harness.executions.on_ended = ended = Mock()
    await error_of(harness.executions.execute(prompt("Hi", harness.hook(server))), OblixdError)
    error = ended.call_args.args[0].log.error
    assert error.__cause__ is None
    assert error.__context__ is None
