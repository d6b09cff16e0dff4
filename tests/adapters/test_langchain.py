"""LangChain: a history that Oblix keeps, and a chat model that Oblix routes."""

from __future__ import annotations

import pytest
from oblix.testing import Answer, ToolCall
from oblix.testing.pytest_plugin import PrivateDaemon

core = pytest.importorskip("langchain_core")
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage  # noqa: E402
from langchain_core.tools import tool  # noqa: E402

pytestmark = pytest.mark.adapters

CALL = {"name": "weather", "args": {"city": "Chur"}, "id": "c1", "type": "tool_call"}
MESSAGES = [
    SystemMessage("Be brief."),
    HumanMessage("Weather?", name="ann"),
    AIMessage("", tool_calls=[CALL]),
    ToolMessage("Snow.", tool_call_id="c1"),
    AIMessage("It snows."),
]


def test_messages_come_back_as_they_were(oblix_daemon: PrivateDaemon) -> None:
    from oblix.adapters.langchain import OblixChatMessageHistory

    history = OblixChatMessageHistory("user-17")
    assert history.messages == []
    history.add_messages(MESSAGES)
    assert history.messages == MESSAGES
    history.add_user_message("And tomorrow?")
    assert history.messages[-1].content == "And tomorrow?"
    with oblix_daemon.client() as client:
        assert [message.role for message in client.sessions.messages("user-17", last=3)] == [
            "tool",
            "assistant",
            "user",
        ]
        client.sessions.append("user-17", {"role": "assistant", "content": "Sun."})
    assert history.messages[-1] == AIMessage("Sun.")
    history.clear()
    assert history.messages == []


async def test_it_is_async_too(oblix_daemon: PrivateDaemon) -> None:
    from oblix.adapters.langchain import OblixChatMessageHistory

    history = OblixChatMessageHistory("user-18")
    await history.aadd_messages(MESSAGES)
    assert await history.aget_messages() == MESSAGES
    await history.aclear()
    assert await history.aget_messages() == []


def test_the_chat_model_answers_and_streams(oblix_daemon: PrivateDaemon) -> None:
    from oblix.adapters.langchain import ChatOblix

    oblix_daemon.script("One two.", "Three four.")
    model = ChatOblix(temperature=0.5)
    answer = model.invoke("Count")
    assert (answer.content, answer.response_metadata["model_name"]) == ("One two.", "ollama:scripted")
    assert answer.usage_metadata is not None
    chunks = list(model.stream([SystemMessage("Be brief."), HumanMessage("On")]))
    assert "".join(chunk.content for chunk in chunks) == "Three four."
    body = oblix_daemon.prompts[-1].body
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["options"]["temperature"] == 0.5


async def test_tools_are_called(oblix_daemon: PrivateDaemon) -> None:
    from oblix.adapters.langchain import ChatOblix

    @tool
    def weather(city: str) -> str:
        """Tell the weather."""
        return f"Snow in {city}."

    oblix_daemon.script(Answer("", tool_calls=[ToolCall("weather", {"city": "Chur"})]), "It snows.")
    model = ChatOblix().bind_tools([weather])
    asked = await model.ainvoke("Weather?")
    (call,) = asked.tool_calls
    result = weather.invoke(call)
    answer = await model.ainvoke([HumanMessage("Weather?"), asked, result])
    assert (call["args"], answer.content) == ({"city": "Chur"}, "It snows.")
    assert oblix_daemon.prompts[-1].body["messages"][-1]["content"] == "Snow in Chur."


def test_a_chain_with_history_remembers(oblix_daemon: PrivateDaemon) -> None:
    from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
    from langchain_core.runnables.history import RunnableWithMessageHistory
    from oblix.adapters.langchain import ChatOblix, OblixChatMessageHistory

    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])
    chain = RunnableWithMessageHistory(
        prompt | ChatOblix(),
        OblixChatMessageHistory,
        input_messages_key="question",
        history_messages_key="history",
    )
    config = {"configurable": {"session_id": "chain"}}
    oblix_daemon.script("First.", "Second.")
    chain.invoke({"question": "One?"}, config)
    assert chain.invoke({"question": "Two?"}, config).content == "Second."
    said = [message["content"] for message in oblix_daemon.prompts[-1].body["messages"]]
    assert said == ["One?", "First.", "Two?"]
