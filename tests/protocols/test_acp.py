"""`oblix acp` under the protocol's own Python SDK."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest
from acp import RequestError, helpers
from oblix import OblixClient
from oblix.testing import Answer, OpenAIServer, ToolCall
from oblix.testing.faults import Refuse, Stall
from support.drivers.editor import COMMAND, TOOLS, Connected, Editor, connect

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
CWD = "/home/you/garden"


async def begin(at: Connected) -> str:
    return (await at.agent.new_session(cwd=CWD)).session_id


async def ask(at: Connected, session_id: str, words: str = "What grows in shade?") -> str:
    answer = await at.agent.prompt(session_id=session_id, prompt=[helpers.text_block(words)])
    return answer.stop_reason


async def test_it_says_what_it_can_do(model) -> None:
    async with connect(*model) as at:
        able = at.welcome.agent_capabilities
        assert at.welcome.protocol_version == 1
        assert at.welcome.agent_info.name == "oblix"
        assert (able.load_session, able.prompt_capabilities.image) == (True, True)
        assert able.session_capabilities.resume is not None


async def test_an_answer_streams_and_is_kept(model, client: OblixClient, server: OpenAIServer) -> None:
    server.script(Answer("Ferns and hostas.", reasoning="Shade. Hm."))
    async with connect(*model) as at:
        session_id = await begin(at)
        assert await ask(at, session_id) == "end_turn"
        assert at.editor.text() == "Ferns and hostas."
        assert at.editor.text("agent_thought_chunk") == "Shade. Hm."
        assert len({chunk.message_id for chunk in at.editor.of("agent_message_chunk")}) == 1
        assert at.editor.of("session_info_update")[0].title == "What grows in shade?"
    kept = client.load_session(session_id)
    assert [message["content"] for message in kept["messages"]] == [
        "What grows in shade?",
        "Ferns and hostas.",
    ]
    assert (kept["title"], kept["metadata"]) == ("What grows in shade?", {"directory": CWD})


async def test_a_prompt_says_which_model_answered_and_what_it_used(model) -> None:
    async with connect(*model) as at:
        words = [helpers.text_block("Hello")]
        answer = await at.agent.prompt(session_id=await begin(at), prompt=words)
        assert answer.field_meta["oblix"]["model"] == "custom:toy"
        assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0


async def test_a_session_is_listed_loaded_and_resumed_by_another_editor(model, server: OpenAIServer) -> None:
    server.script(Answer("Ferns.", reasoning="Hm."))
    async with connect(*model) as at:
        session_id = await begin(at)
        await ask(at, session_id)
    async with connect(*model) as at:
        listed = (await at.agent.list_sessions(cwd=CWD)).sessions
        assert session_id in {one.session_id for one in listed}
        assert {one.cwd for one in listed} == {CWD}
        assert not (await at.agent.list_sessions(cwd="/home/you/elsewhere")).sessions
        await at.agent.load_session(cwd=CWD, session_id=session_id)
        assert at.editor.text("user_message_chunk") == "What grows in shade?"
        assert (at.editor.text("agent_thought_chunk"), at.editor.text()) == ("Hm.", "Ferns.")
        at.editor.updates.clear()
        await at.agent.resume_session(cwd=CWD, session_id=session_id)
        assert at.editor.updates == []
        await ask(at, session_id, "And in sun?")
    said = [message["content"] for message in server.requests[-1].body["messages"]]
    assert said == ["What grows in shade?", "Ferns.", "And in sun?"]


async def test_sessions_come_in_pages(model, client: OblixClient) -> None:
    made = {await client.create_session(metadata={"directory": "/home/you/many"}) for _ in range(51)}
    async with connect(*model) as at:
        first = await at.agent.list_sessions(cwd="/home/you/many")
        rest = await at.agent.list_sessions(cwd="/home/you/many", cursor=first.next_cursor)
        assert (len(first.sessions), len(rest.sessions), rest.next_cursor) == (50, 1, None)
        assert {one.session_id for one in (*first.sessions, *rest.sessions)} == made


async def test_cancelling_frees_the_model_and_keeps_the_part(model, client, server: OpenAIServer) -> None:
    server.script(Answer("one two three four", fault=Stall(after=2)))
    async with connect(*model) as at:
        session_id = await begin(at)
        asking = asyncio.create_task(ask(at, session_id))
        await at.editor.until(lambda: at.editor.text() == "one two")
        await at.agent.cancel(session_id=session_id)
        assert await asking == "cancelled"
        await asyncio.to_thread(server.requests[0].abandoned.wait, 60)
        assert await ask(at, session_id, "Again") == "end_turn"
    kept = client.load_session(session_id)["messages"]
    assert (kept[1]["content"], kept[1]["status"]) == ("one two", "cancelled")


async def test_an_editor_that_goes_away_frees_the_model(model, server: OpenAIServer) -> None:
    server.script(Answer("one two three four", fault=Stall(after=2)))
    async with connect(*model) as at:
        session_id = await begin(at)
        asking = asyncio.create_task(ask(at, session_id))
        await at.editor.until(lambda: at.editor.text() == "one two")
        at.hang_up()
        with pytest.raises(ConnectionError):
            await asking
    assert await asyncio.to_thread(server.requests[0].abandoned.wait, 60)


async def test_modes_are_policies_and_are_kept(model, client: OblixClient) -> None:
    async with connect(*model, "--policy", "balanced") as at:
        made = await at.agent.new_session(cwd=CWD)
        modes = {mode.id for mode in made.modes.available_modes}
        assert made.modes.current_mode_id == "balanced"
        assert {"default", "private", "prefer-cloud"} <= modes
        await at.agent.set_session_mode(session_id=made.session_id, mode_id="private")
        (update,) = at.editor.of("config_option_update")
        assert {one.id: one.current_value for one in update.config_options}["mode"] == "private"
        with pytest.raises(RequestError, match="mode is one of"):
            await at.agent.set_session_mode(session_id=made.session_id, mode_id="no-such")
    assert client.get_session(made.session_id)["routing_policy"] == "private"


async def test_a_model_and_thinking_are_chosen_and_kept(model, server: OpenAIServer) -> None:
    async with connect(*model) as at:
        made = await at.agent.new_session(cwd=CWD)
        options = {one.id: one for one in made.config_options}
        assert {one.value for one in options["model"].options} == {"auto", "custom:toy"}
        await at.agent.set_config_option("thought_level", made.session_id, "high")
        await at.agent.set_config_option("model", made.session_id, "auto")
        await ask(at, made.session_id)
        assert server.requests[-1].body["reasoning_effort"] == "high"
    async with connect(*model) as at:
        again = await at.agent.resume_session(cwd=CWD, session_id=made.session_id)
        chosen = {one.id: one.current_value for one in again.config_options}
        assert chosen == {"model": "auto", "mode": "default", "thought_level": "high"}


async def test_images_links_and_attached_files(model, server: OpenAIServer) -> None:
    editor = Editor({f"{CWD}/plan.md": "Beds in the north."})
    async with connect(*model, editor=editor, tools=TOOLS) as at:
        await at.agent.prompt(
            session_id=await begin(at),
            prompt=[
                helpers.text_block("See"),
                helpers.image_block(base64.b64encode(PIXEL).decode(), "image/png"),
                helpers.resource_link_block("plan.md", f"file://{CWD}/plan.md"),
                helpers.resource_link_block("site", "https://example.org/"),
                helpers.resource_block(helpers.embedded_text_resource(f"file://{CWD}/a.txt", "Rain.")),
            ],
        )
    content = server.requests[0].body["messages"][-1]["content"]
    words = " ".join(part["text"] for part in content if part["type"] == "text")
    assert [part["type"] for part in content].count("image_url") == 1
    assert "Beds in the north." in words
    assert "[site](https://example.org/)" in words
    assert "Rain." in words


async def test_sound_is_refused_with_a_sentence(model) -> None:
    async with connect(*model) as at:
        with pytest.raises(RequestError, match="no sound") as refusal:
            await at.agent.prompt(
                session_id=await begin(at), prompt=[helpers.audio_block("AAAA", "audio/wav")]
            )
        assert refusal.value.code == -32602


async def test_a_tool_is_asked_for_and_run_by_the_editor(model, client, server: OpenAIServer) -> None:
    server.script(
        Answer(tool_calls=(ToolCall("read_file", {"path": "plan.md"}),)),
        Answer(tool_calls=(ToolCall("write_file", {"path": "plan.md", "content": "Beds south."}),)),
        Answer(tool_calls=(ToolCall("run_command", {"command": "ls", "args": ["-l"]}),)),
        "All done.",
    )
    editor = Editor({f"{CWD}/plan.md": "Beds north."})
    async with connect(*model, editor=editor, tools=TOOLS) as at:
        session_id = await begin(at)
        assert await ask(at, session_id) == "end_turn"
    assert [call.kind for call in editor.asked] == ["read", "edit", "execute"]
    diff = editor.asked[1].content[0]
    assert (diff.path, diff.old_text, diff.new_text) == (f"{CWD}/plan.md", "Beds north.", "Beds south.")
    assert editor.files == {f"{CWD}/plan.md": "Beds south."}
    assert editor.terminals == [("ls", ["-l"], CWD)]
    assert editor.released == ["term-1"]
    ends = [one.status for one in editor.of("tool_call_update") if one.status in {"completed", "failed"}]
    assert ends == ["completed"] * 3
    # The editor's ids are unique although the model called each of its calls call_1.
    assert len({one.tool_call_id for one in editor.of("tool_call")}) == 3
    results = [one["content"] for one in server.requests[-1].body["messages"] if one["role"] == "tool"]
    assert results == ["Beds north.", f"{CWD}/plan.md is written.", "done\n\n[exit code 0]"]
    assert [one["role"] for one in client.load_session(session_id)["messages"]].count("tool") == 3


async def test_a_refused_tool_is_not_run(model, server: OpenAIServer) -> None:
    server.script(Answer(tool_calls=(ToolCall("write_file", {"path": "a", "content": "x"}),)), "Then not.")
    async with connect(*model, editor=Editor(decision="reject"), tools=TOOLS) as at:
        assert await ask(at, await begin(at)) == "end_turn"
        assert at.editor.files == {}
        assert at.editor.of("tool_call_update")[-1].status == "failed"
    assert "refused" in server.requests[-1].body["messages"][-1]["content"]


async def test_always_is_asked_once(model, server: OpenAIServer) -> None:
    call = Answer(tool_calls=(ToolCall("read_file", {"path": "a"}),))
    server.script(call, call, "Done.")
    editor = Editor({f"{CWD}/a": "x"}, decision="always")
    async with connect(*model, editor=editor, tools=TOOLS) as at:
        await ask(at, await begin(at))
        assert len(editor.asked) == 1


async def test_cancelling_while_the_person_is_asked(model, server: OpenAIServer) -> None:
    server.script(Answer(tool_calls=(ToolCall("read_file", {"path": "a"}),)), "Later.")
    async with connect(*model, editor=Editor(decision=None), tools=TOOLS) as at:
        session_id = await begin(at)
        asking = asyncio.create_task(ask(at, session_id))
        await at.editor.until(lambda: at.editor.asked)
        await at.agent.cancel(session_id=session_id)
        assert await asking == "cancelled"
        assert at.editor.of("tool_call_update")[-1].status == "failed"
        assert await ask(at, session_id, "Go on") == "end_turn"


async def test_without_an_editors_tools_a_call_is_told_as_not_run(model, server: OpenAIServer) -> None:
    server.script(Answer(tool_calls=(ToolCall("read_file", {"path": "a"}),)), "I can't.")
    async with connect(*model) as at:
        assert await ask(at, await begin(at)) == "end_turn"
        failed = at.editor.of("tool_call_update")[-1]
        assert (failed.status, failed.content[0].content.text.startswith("Not run")) == ("failed", True)
        assert at.editor.text() == "I can't."
    assert "tools" not in server.requests[0].body


async def test_plans_are_plans_live_and_in_history(model, server: OpenAIServer) -> None:
    entries = [{"content": "Dig", "status": "in_progress", "priority": "high"}]
    server.script(Answer(tool_calls=(ToolCall("update_plan", {"entries": entries}),)), "Planned.")
    async with connect(*model, editor=Editor(), tools=TOOLS) as at:
        session_id = await begin(at)
        await ask(at, session_id)
        assert at.editor.asked == []
        live = at.editor.of("plan")
        at.editor.updates.clear()
        await at.agent.load_session(cwd=CWD, session_id=session_id)
        assert live == at.editor.of("plan") != []
        assert (live[0].entries[0].content, live[0].entries[0].status) == ("Dig", "in_progress")


async def test_a_failure_is_a_sentence_with_its_reason(model, server: OpenAIServer) -> None:
    server.script(*[Answer(fault=Refuse(401, "no such key"))] * 3)
    async with connect(*model) as at:
        with pytest.raises(RequestError) as failure:
            await ask(at, await begin(at))
        assert failure.value.data["reason"]
        assert "key" in str(failure.value)


async def test_sessions_outside_of_the_filter_do_not_exist(model, client: OblixClient) -> None:
    other = await client.create_session(metadata={"project": "house"})
    secret = await client.create_session(local_only=True, metadata={"project": "garden"})
    named = await client.create_session(local_only=True)
    async with connect(*model, "--filter", "project=garden", "--session", named) as at:
        mine = await begin(at)
        listed = {one.session_id for one in (await at.agent.list_sessions()).sessions}
        assert (mine in listed, named in listed) == (True, True)
        assert not {other, secret} & listed
        for hidden in (other, secret, "no-such-session"):
            with pytest.raises(RequestError, match="There is no session"):
                await at.agent.load_session(cwd=CWD, session_id=hidden)
    assert client.get_session(mine)["metadata"] == {"directory": CWD, "project": "garden"}


async def test_local_only_sessions(model, client: OblixClient) -> None:
    async with connect(*model, "--local-only") as at:
        session_id = await begin(at)
        await at.agent.resume_session(cwd=CWD, session_id=session_id)
    assert client.get_session(session_id)["local_only"] is True


async def test_a_fork_and_a_close(model, client: OblixClient, server: OpenAIServer) -> None:
    async with connect(*model) as at:
        session_id = await begin(at)
        await ask(at, session_id)
        fork = await at.agent.fork_session(session_id=session_id, cwd=CWD)
        assert client.get_session(fork.session_id)["parent_id"] == session_id
        await at.agent.close_session(session_id=session_id)
        with pytest.raises(RequestError, match="not open here"):
            await ask(at, session_id)


async def test_standard_output_holds_the_protocol_alone(model, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *model,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    servers = [{"name": "files", "command": "x", "args": [], "env": []}]
    requests = [
        {"method": "initialize", "params": {"protocolVersion": 1}},
        {"method": "session/new", "params": {"cwd": str(tmp_path), "mcpServers": servers}},
        {"method": "no/such", "params": {}},
    ]
    written_lines = [
        json.dumps({"jsonrpc": "2.0", "id": number} | request) for number, request in enumerate(requests)
    ]
    lines = "\n".join(written_lines) + "\n"
    written, noted = await process.communicate(lines.encode())
    answers = {answer["id"]: answer for answer in map(json.loads, written.splitlines())}
    assert answers[2]["error"]["code"] == -32601
    assert answers[0]["result"]["protocolVersion"] == 1
    assert process.returncode == 0
    assert b"these MCP servers are not used: files" in noted
