"""A session that becomes local-only while its prompt is on the way: what was acknowledged holds at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from oblix.testing import Answer, Cut, OllamaServer, OpenAIServer, Refuse
from oblix.v1 import executions_pb2, sessions_pb2
from support.drivers.events import all_of, error_of, text_of, until
from support.drivers.execution import CLIENT, Harness, prompt

from oblixd.errors import InvalidArgumentError
from oblixd.models import hook_spec
from oblixd.models.base import Location

Say = Callable[[str], Answer]


class Gate:
    """Holds a server's answers back until it is opened, and says when a prompt has come."""

    def __init__(self, answer: Say) -> None:
        self.came = threading.Event()
        self.may_answer = threading.Event()
        self._answer = answer

    def __call__(self, question: str) -> Answer:
        self.came.set()
        assert self.may_answer.wait(60)
        return self._answer(question)


@pytest.fixture
def cloud() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


def hook(harness: Harness, cloud: OpenAIServer, **options: object) -> str:
    spec = hook_spec.spec_of(
        "custom", "gpt-4o-mini", endpoint=cloud.url, location=Location.CLOUD, options=options
    )
    return harness.registry.hook(CLIENT, spec).handle


async def mark(harness: Harness, session_id: str) -> None:
    """Returns once it is acknowledged that the session is local-only."""
    session = sessions_pb2.Session(id=session_id, local_only=True)
    assert (await harness.sessions.update(session, ["local_only"])).local_only


async def text_or_refusal(stream: AsyncIterator[Any]) -> str:
    """The text of the answer, or why it was refused."""
    try:
        return text_of(await all_of(stream))
    except InvalidArgumentError as error:
        return error.reason


async def test_while_it_waits_for_a_slot(harness: Harness, cloud: OpenAIServer) -> None:
    cloud.default = gate = Gate(cloud.default)
    session, far = await harness.session(), hook(harness, cloud, max_running=1)
    first = asyncio.create_task(text_or_refusal(harness.executions.execute(prompt("No secret", far))))
    await asyncio.to_thread(gate.came.wait, 60)
    waiting = harness.executions.execute(prompt("A secret", far, session_id=session))
    other = harness.executions.execute(prompt("My opinion", far, session_id=await harness.session()))
    await until(waiting, "queued")
    await until(other, "queued")
    await mark(harness, session)
    gate.may_answer.set()
    assert await first == "You said: No secret"
    assert await text_or_refusal(waiting) == "MODEL_REFUSED_REQUEST"
    assert await text_or_refusal(other) == "You said: My opinion"
    assert "A secret" not in str([request.body for request in cloud.requests])


@pytest.mark.parametrize("fault", [Refuse(503, headers={"Retry-After": "0"}), Cut(after=0)])
async def test_before_a_retry(harness: Harness, cloud: OpenAIServer, fault: Any) -> None:
    cloud.default = gate = Gate(lambda _: Answer("never", fault=fault))
    session = await harness.session()
    asked = prompt("A secret", hook(harness, cloud), session_id=session)
    answering = asyncio.create_task(text_or_refusal(harness.executions.execute(asked)))
    await asyncio.to_thread(gate.came.wait, 60)
    await mark(harness, session)
    gate.may_answer.set()
    assert await answering == "MODEL_REFUSED_REQUEST"
    assert len(cloud.requests) == 1


@pytest.mark.parametrize("on_break", [executions_pb2.ON_BREAK_UNSPECIFIED, executions_pb2.ON_BREAK_RESTART])
async def test_before_a_fallback_or_a_restart(
    harness: Harness, server: OllamaServer, cloud: OpenAIServer, on_break: executions_pb2.OnBreak.ValueType
) -> None:
    restarts = on_break == executions_pb2.ON_BREAK_RESTART
    fault = Cut(after=1) if restarts else Refuse(400)
    server.default = gate = Gate(lambda _: Answer("one two", fault=fault))
    session, near = await harness.session(), harness.hook(server)
    asked = prompt("A secret", near, hook(harness, cloud), session_id=session, on_break=on_break)
    answering = asyncio.create_task(error_of(harness.executions.execute(asked), InvalidArgumentError))
    await asyncio.to_thread(gate.came.wait, 60)
    await mark(harness, session)
    gate.may_answer.set()
    assert "local-only" in (await answering).message
    assert (len(server.requests) >= 1, cloud.requests) == (True, [])


async def test_a_private_policy_counts_from_the_moment_that_it_is_set(
    harness: Harness, cloud: OpenAIServer
) -> None:
    cloud.default = gate = Gate(cloud.default)
    session, far = await harness.session(), hook(harness, cloud, max_running=1)
    first = asyncio.create_task(text_or_refusal(harness.executions.execute(prompt("No secret", far))))
    await asyncio.to_thread(gate.came.wait, 60)
    waiting = harness.executions.execute(prompt("A secret", far, session_id=session))
    await until(waiting, "queued")
    await harness.sessions.update(
        sessions_pb2.Session(id=session, routing_policy="private"), ["routing_policy"]
    )
    gate.may_answer.set()
    await first
    assert await text_or_refusal(waiting) == "MODEL_REFUSED_REQUEST"
    assert len(cloud.requests) == 1
