"""Pydantic AI: a model that Oblix routes, and a message history that Oblix keeps."""

from __future__ import annotations

import pytest
from oblix.testing import Answer, ToolCall
from oblix.testing.pytest_plugin import PrivateDaemon

pytest.importorskip("pydantic_ai")
from pydantic import BaseModel
from pydantic_ai import Agent

pytestmark = pytest.mark.adapters


async def test_an_agent_answers_calls_tools_and_remembers(oblix_daemon: PrivateDaemon) -> None:
    from oblix.adapters.pydantic_ai import OblixModel, load_history, save_history

    async with oblix_daemon.async_client() as client:
        agent = Agent(OblixModel(client=client), instructions="Be brief.")

        @agent.tool_plain
        def weather(city: str) -> str:
            """Tell the weather."""
            return f"Snow in {city}."

        oblix_daemon.script(
            Answer("", tool_calls=[ToolCall("weather", {"city": "Chur"})]), "It snows.", "Sun."
        )
        result = await agent.run("Weather?")
        assert result.output == "It snows."
        assert result.usage.output_tokens > 0
        body = oblix_daemon.prompts[-1].body
        assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "tool"]
        assert body["messages"][-1]["content"] == "Snow in Chur."

        await save_history(client, "user-17", result.new_messages())
        history = await load_history(client, "user-17")
        assert history == result.new_messages()
        again = await agent.run("And tomorrow?", message_history=history)
        assert again.output == "Sun."
        assert len(oblix_daemon.prompts[-1].body["messages"]) == 6
        assert await load_history(client, "nobody") == []
        hits = await client.sessions.search("snows").all()
        assert [hit.role for hit in hits] == ["assistant"]


async def test_an_answer_is_streamed_as_text(oblix_daemon: PrivateDaemon) -> None:
    from oblix.adapters.pydantic_ai import OblixModel

    oblix_daemon.script("One two three.")
    agent = Agent(OblixModel("ollama:scripted"))
    async with agent.run_stream("Count", model_settings={"temperature": 0.25}) as stream:
        texts = [text async for text in stream.stream_text(delta=True)]
    assert "".join(texts) == "One two three."
    assert oblix_daemon.prompts[-1].body["options"]["temperature"] == 0.25


class City(BaseModel):
    """A city."""

    name: str
    population: int


async def test_output_has_a_type(oblix_daemon: PrivateDaemon) -> None:
    from oblix.adapters.pydantic_ai import OblixModel

    call = ToolCall("final_result", {"name": "Chur", "population": 38000})
    oblix_daemon.script(Answer("", tool_calls=[call]))
    result = await Agent(OblixModel(), output_type=City).run("Which city?")
    assert result.output == City(name="Chur", population=38000)


def test_a_pydantic_model_is_a_form_of_answers(oblix_daemon: PrivateDaemon) -> None:
    oblix_daemon.script('{"name": "Chur", "population": 38000}')
    with oblix_daemon.client() as client:
        city = client.execute("Which city?", response_model=City)
    assert city == City(name="Chur", population=38000)


def test_a_pydantic_model_is_an_argument_of_a_tool(oblix_daemon: PrivateDaemon) -> None:
    seen: list[City] = []

    def note(city: City) -> str:
        """Note a city."""
        seen.append(city)
        return "noted"

    call = ToolCall("note", {"city": {"name": "Chur", "population": 38000}})
    oblix_daemon.script(Answer("", tool_calls=[call]), "Done.")
    with oblix_daemon.client() as client:
        assert client.execute("Note it", tools=[note], run_tools=True).text == "Done."
    assert seen == [City(name="Chur", population=38000)]
