"""The OpenAI Agents SDK keeps its conversations in Oblix."""

from __future__ import annotations

import asyncio

import pytest
from oblix.testing.pytest_plugin import PrivateDaemon

agents = pytest.importorskip("agents")

pytestmark = pytest.mark.adapters

USER = {"role": "user", "content": "Hello"}
CALL = {
    "type": "function_call",
    "call_id": "c1",
    "name": "weather",
    "arguments": '{"city":"Chur"}',
    "id": "fc_1",
}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "Snow."}
ANSWER = {
    "type": "message",
    "role": "assistant",
    "id": "m1",
    "content": [{"type": "output_text", "text": "It snows.", "annotations": []}],
}
ITEMS = [USER, CALL, RESULT, ANSWER]


async def test_items_come_back_as_they_were(oblix_daemon: PrivateDaemon) -> None:
    from oblix.adapters.openai_agents import OblixSession

    session = OblixSession("user-17")
    assert await session.get_items() == []
    assert await session.pop_item() is None
    await session.add_items(ITEMS)
    assert await session.get_items() == ITEMS
    assert await session.get_items(limit=2) == ITEMS[2:]
    assert await session.pop_item() == ANSWER
    assert await session.get_items() == ITEMS[:3]
    await session.clear_session()
    assert await session.get_items() == []


async def test_others_see_and_find_what_was_said(oblix_daemon: PrivateDaemon) -> None:
    from oblix.adapters.openai_agents import OblixSession

    session = OblixSession("user-17", metadata={"app": "agent"})
    await session.add_items(ITEMS)
    async with oblix_daemon.async_client() as client:
        said = await client.sessions.messages("user-17").all()
        assert [message.role for message in said] == ["user", "assistant", "tool", "assistant"]
        assert (said[1].tool_calls[0].name, said[3].content) == ("weather", "It snows.")
        assert (await client.sessions.get("user-17")).metadata == {"app": "agent"}
        await client.sessions.append("user-17", "From elsewhere")
    assert (await session.get_items())[-1] == {"role": "user", "content": "From elsewhere"}


async def test_a_pop_beside_a_writer_loses_nothing(oblix_daemon: PrivateDaemon) -> None:
    from oblix.adapters.openai_agents import OblixSession

    session = OblixSession("busy")
    items = [{"role": "user", "content": str(number)} for number in range(150)]

    async def write() -> None:
        for item in items:
            await session.add_items([item])

    popped: list[object] = []

    async def pop() -> None:
        for _ in range(50):
            if (item := await session.pop_item()) is not None:
                popped.append(item["content"])

    await asyncio.gather(write(), pop())
    left = [item["content"] for item in await session.get_items()]
    assert sorted([*left, *popped], key=int) == [item["content"] for item in items]


async def test_a_change_that_is_cancelled_is_known_to_its_end(oblix_daemon: PrivateDaemon) -> None:
    from oblix.adapters.openai_agents import OblixSession

    session = OblixSession("cancelled")
    await session.add_items([USER])
    for change in (session.add_items([RESULT]), session.pop_item(), session.clear_session()):
        before = len(await session.get_items())
        task = asyncio.create_task(change)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(await session.get_items()) != before


async def test_settings_may_be_a_dictionary(oblix_daemon: PrivateDaemon) -> None:
    from oblix.adapters.openai_agents import OblixSession

    session = OblixSession("limited", session_settings={"limit": 1})
    await session.add_items(ITEMS)
    assert await session.get_items() == [ANSWER]
    assert len(await session.get_items(3)) == 3


async def test_a_runner_remembers(oblix_daemon: PrivateDaemon) -> None:
    from agents import Agent, Runner, set_tracing_disabled
    from agents.items import ModelResponse
    from agents.models.interface import Model
    from agents.usage import Usage
    from oblix.adapters.openai_agents import OblixSession
    from openai.types.responses import ResponseOutputMessage, ResponseOutputText

    set_tracing_disabled(True)
    seen: list[object] = []

    class Fixed(Model):
        async def get_response(self, system_instructions, input, *rest, **named):
            seen.append(input)
            text = ResponseOutputText(type="output_text", text="Yes.", annotations=[])
            said = ResponseOutputMessage(
                id="m", type="message", role="assistant", status="completed", content=[text]
            )
            return ModelResponse(output=[said], usage=Usage(), response_id=None)

        def stream_response(self, *rest, **named):
            raise NotImplementedError

    agent, session = Agent(name="a", model=Fixed()), OblixSession("runner")
    await Runner.run(agent, "One?", session=session)
    result = await Runner.run(agent, "Two?", session=session)
    assert result.final_output == "Yes."
    assert [item["content"] for item in seen[1] if item["role"] == "user"] == ["One?", "Two?"]
