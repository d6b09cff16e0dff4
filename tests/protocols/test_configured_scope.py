"""What `[mcp]` and `[acp]` of the configuration let programs see, alone and with options."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mcp import Client
from oblix import OblixClient
from support.drivers.editor import connect as editor
from support.drivers.mcp_agent import connect as agent

CWD = "/home/you/garden"
Write = Callable[[str], None]


@pytest.fixture
def configure(daemon_home: Path) -> Iterator[Write]:
    file = daemon_home / "config.toml"
    yield lambda text: file.write_text(text) and None
    file.unlink(missing_ok=True)


@pytest.fixture
async def sessions(client: OblixClient) -> dict[str, str]:
    """A session of each kind by what it is."""
    garden = {"project": "garden"}
    return {
        "garden": await client.create_session("Beds", metadata=garden),
        "house": await client.create_session("Walls", metadata={"project": "house"}),
        "secret": await client.create_session("Diary", metadata=garden, local_only=True),
    }


async def list_ids(at: Client) -> set[str]:
    answer = await at.call_tool("list_conversations", {"limit": 100})
    assert not answer.is_error, answer.content
    return {one["session_id"] for one in answer.structured_content["conversations"]}


def refusal(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "oblix", *words],
        check=False,
        input="",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


async def test_mcp_shows_what_the_configuration_says(sessions: dict[str, str], configure: Write) -> None:
    configure('[mcp]\nfilter = { project = "garden" }\nallow_notes = true\n')
    async with agent() as at:
        assert await list_ids(at) & set(sessions.values()) == {sessions["garden"]}
        assert "append_note" in {tool.name for tool in (await at.list_tools()).tools}


async def test_mcp_shows_a_local_only_session_by_name_alone(
    sessions: dict[str, str], configure: Write
) -> None:
    configure("[mcp]\nall = true\n")
    async with agent() as at:
        assert await list_ids(at) & set(sessions.values()) == {sessions["garden"], sessions["house"]}
    configure(f'[mcp]\nsessions = ["{sessions["secret"]}"]\n')
    async with agent() as at:
        assert await list_ids(at) == {sessions["secret"]}


async def test_options_show_no_more_than_the_configuration_allows(
    sessions: dict[str, str], configure: Write
) -> None:
    configure('[mcp]\nfilter = { project = "garden" }\n')
    for words in (("--all",), ("--filter", "project=garden")):
        async with agent(*words) as at:
            assert await list_ids(at) & set(sessions.values()) == {sessions["garden"]}
    async with agent("--session", sessions["house"]) as at:
        assert await list_ids(at) & set(sessions.values()) == {sessions["garden"], sessions["house"]}
    assert "limits project to 'garden'" in refusal("mcp", "--filter", "project=house")


async def test_acp_shows_what_the_configuration_says(
    model: tuple[str, ...], sessions: dict[str, str], client: OblixClient, configure: Write
) -> None:
    configure(f'[acp]\nfilter = {{ project = "garden" }}\nsessions = ["{sessions["secret"]}"]\n')
    async with editor(*model) as at:
        seen = {one.session_id for one in (await at.agent.list_sessions()).sessions}
        made = (await at.agent.new_session(cwd=CWD)).session_id
    assert seen & set(sessions.values()) == {sessions["garden"], sessions["secret"]}
    assert client.get_session(made)["metadata"] == {"directory": CWD, "project": "garden"}


async def test_acp_makes_local_only_sessions(
    model: tuple[str, ...], client: OblixClient, configure: Write
) -> None:
    configure("[acp]\nlocal_only = true\n")
    async with editor(*model) as at:
        made = (await at.agent.new_session(cwd=CWD)).session_id
    assert client.get_session(made)["local_only"] is True


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[mcp]\nfilters = {}\n", "[mcp] has no filters. Did you mean filter"),
        ("[mcp]\nfilter = 'garden'\n", "mcp.filter is a table"),
        ("[mcp]\nsessions = 'one'\n", "mcp.sessions is a list of session ids"),
        ("[mcp]\nall = 1\n", "mcp.all is true or false"),
        ("[mcp]\nlocal_only = true\n", "[mcp] has no local_only"),
        ("[mcp]\n", "say what the agent may see"),
    ],
)
def test_contradictory_scopes_are_refused(configure: Write, text: str, sentence: str) -> None:
    configure(text)
    assert sentence in refusal("mcp")
