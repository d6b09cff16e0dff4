"""`oblix mcp` under the protocol's own Python SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp import Client
from oblix import OblixClient
from support.drivers.mcp_agent import connect

READ_TOOLS = {
    "search_conversations",
    "list_conversations",
    "read_conversation",
    "usage",
    "explain_route",
}


async def call(agent: Client, tool: str, **arguments: Any) -> Any:
    result = await agent.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def refusal(agent: Client, tool: str, **arguments: Any) -> str:
    result = await agent.call_tool(tool, arguments)
    assert result.is_error
    return result.content[0].text


@pytest.fixture
async def garden(client: OblixClient) -> str:
    session_id = await client.create_session("Beds", metadata={"project": "garden"})
    client.session_manager.save_message(session_id, "Which marrow climbs?")
    client.session_manager.save_message(session_id, "None does.", "assistant")
    return session_id


async def test_it_is_read_only_unless_asked(garden: str) -> None:
    async with connect("--all") as agent:
        tools = (await agent.list_tools()).tools
        assert {tool.name for tool in tools} == READ_TOOLS
        assert all(tool.annotations.read_only_hint for tool in tools)
        await refusal(agent, "append_note", session_id=garden, text="x")


async def test_searching_listing_and_reading(garden: str) -> None:
    async with connect("--filter", "project=garden") as agent:
        (hit, *_) = (await call(agent, "search_conversations", query="marrow"))["result"]
        assert (hit["role"], "marrow" in hit["snippet"]) == ("user", True)
        listed = (await call(agent, "list_conversations"))["conversations"]
        assert garden in {one["session_id"] for one in listed}
        read = await call(agent, "read_conversation", session_id=garden, limit=1)
        assert [one["text"] for one in read["messages"]] == ["Which marrow climbs?"]
        rest = await call(agent, "read_conversation", session_id=garden, from_sequence=read["next_sequence"])
        assert [(one["role"], one["text"]) for one in rest["messages"]] == [("assistant", "None does.")]
        assert rest["next_sequence"] == 0


async def test_a_conversation_is_a_resource(garden: str) -> None:
    async with connect("--all") as agent:
        templates = (await agent.list_resource_templates()).resource_templates
        assert [one.uri_template for one in templates] == ["oblix://conversations/{session_id}"]
        page = (await agent.read_resource(f"oblix://conversations/{garden}")).contents[0]
        assert (page.mime_type, "Which marrow climbs?" in page.text) == ("text/markdown", True)
        newest = (await agent.read_resource("oblix://conversations")).contents[0]
        assert garden in {one["session_id"] for one in json.loads(newest.text)["conversations"]}


async def test_sessions_outside_of_the_scope_do_not_exist(client: OblixClient, garden: str) -> None:
    other = await client.create_session("Walls", metadata={"project": "house"})
    secret = await client.create_session("Diary", metadata={"project": "garden"}, local_only=True)
    for session_id in (other, secret):
        client.session_manager.save_message(session_id, "The aspidistra stays inside.")
    async with connect("--filter", "project=garden") as agent:
        assert (await call(agent, "search_conversations", query="aspidistra"))["result"] == []
        listed = (await call(agent, "list_conversations", limit=100))["conversations"]
        assert not {other, secret} & {one["session_id"] for one in listed}
        for session_id in (other, secret, "no-such"):
            said = await refusal(agent, "read_conversation", session_id=session_id)
            assert f"There is no session {session_id} here." in said
            with pytest.raises(Exception, match="There is no session"):
                await agent.read_resource(f"oblix://conversations/{session_id}")


async def test_a_session_is_seen_by_its_name_alone(client: OblixClient, garden: str) -> None:
    secret = await client.create_session("Diary", local_only=True)
    client.session_manager.save_message(secret, "The begonia stays inside.")
    async with connect("--session", secret) as agent:
        listed = (await call(agent, "list_conversations"))["conversations"]
        assert [one["session_id"] for one in listed] == [secret]
        (hit,) = (await call(agent, "search_conversations", query="begonia"))["result"]
        assert hit["session_id"] == secret
        await refusal(agent, "read_conversation", session_id=garden)


async def test_a_session_that_becomes_local_only_disappears(client: OblixClient, garden: str) -> None:
    async with connect("--all") as agent:
        await call(agent, "read_conversation", session_id=garden)
        await client.create_session(session_id=garden, get_or_create=True, local_only=True)
        await refusal(agent, "read_conversation", session_id=garden)


async def test_a_note_is_appended_where_that_is_allowed(client: OblixClient, garden: str) -> None:
    async with connect("--all", "--allow-notes") as agent:
        await call(agent, "append_note", session_id=garden, text="Ask again in spring.")
        await refusal(agent, "append_note", session_id="no-such", text="x")
    assert client.load_session(garden)["messages"][-1]["content"] == "Note: Ask again in spring."


async def test_usage_and_where_a_prompt_would_go(garden: str) -> None:
    async with connect("--all") as agent:
        assert "total" in await call(agent, "usage", days=1)
        route = await call(agent, "explain_route", prompt="Hello")
        assert (route["target"], route["policy"], route["candidates"]) == ("", "balanced", [])
        assert route["reason"]


async def test_a_wrong_argument_is_named(garden: str) -> None:
    async with connect("--all") as agent:
        assert "limit" in await refusal(agent, "list_conversations", limit=0)
