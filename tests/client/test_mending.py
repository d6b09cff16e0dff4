"""A client that mends a conversation, against a real daemon."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from oblix import (
    AbortedError,
    Completed,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OblixClient,
)
from oblix.testing import OllamaServer

NUMBERS = ("one", "two", "three", "four")


async def a_session(client: OblixClient, *said: str) -> str:
    session_id = await client.create_session()
    for text in said or NUMBERS:
        client.session_manager.save_message(session_id, text)
    return session_id


def messages(client: OblixClient, session_id: str) -> list[dict[str, Any]]:
    session = client.load_session(session_id)
    assert session is not None
    return list(session["messages"])


def texts_of(client: OblixClient, session_id: str) -> list[str]:
    return [message["content"] for message in messages(client, session_id)]


async def test_messages_are_named_by_id_by_place_and_from_the_end(client: OblixClient) -> None:
    session_id = await a_session(client)
    ids = [message["id"] for message in messages(client, session_id)]
    for name, content in ((1, "one"), (-1, "four"), (-4, "one"), (ids[2], "three")):
        assert client.get_message(session_id, name)["content"] == content
    for name in (0, 5, -5, "nobody"):
        with pytest.raises(NotFoundError) as caught:
            client.get_message(session_id, name)
        assert caught.value.reason == "MESSAGE_NOT_FOUND"
    deleted = client.delete_messages(session_id, [ids[1], -1])
    assert [message["content"] for message in deleted] == ["two", "four"]
    assert client.get_message(session_id, 3)["content"] == "three"
    with pytest.raises(NotFoundError):
        client.get_message(session_id, 2)
    assert [message["id"] for message in client.delete_messages(session_id, 1)] == [ids[0]]
    assert texts_of(client, session_id) == ["three"]


async def test_the_end_of_a_session_is_cut_off_or_popped(client: OblixClient) -> None:
    session_id = await a_session(client)
    assert [message["content"] for message in client.pop_messages(session_id)] == ["four"]
    assert [message["content"] for message in client.pop_messages(session_id, 2)] == ["two", "three"]
    client.session_manager.save_message(session_id, "five")
    assert client.truncate_session(session_id, -1) == 1
    assert client.truncate_session(session_id, 1) == 1
    assert client.truncate_session(session_id, 1) == 0
    assert client.pop_messages(session_id) == []
    for count in (0, -1, True, "1"):
        with pytest.raises(InvalidArgumentError):
            client.pop_messages(session_id, count)  # type: ignore[arg-type]


async def test_an_edit_keeps_what_it_was(client: OblixClient) -> None:
    session_id = await a_session(client)
    edited = client.edit_message(session_id, 2, "zwei", client_data=b"\0x")
    assert (edited["content"], edited["version"]) == ("zwei", 1)
    assert base64.b64decode(edited["client_data"]) == b"\0x"
    client.edit_message(session_id, 2, [{"type": "text", "text": "deux"}], version=1)
    with pytest.raises(AbortedError):
        client.edit_message(session_id, 2, "due", version=1)
    assert [old["content"] for old in client.list_message_versions(session_id, 2)] == ["zwei", "two"]
    assert client.restore_message(session_id, 2, 0)["content"] == "two"
    assert messages(client, session_id)[1]["version"] == 3
    for wrong in ({"client_data": "x"}, {"version": -1}, {"version": True}):
        with pytest.raises(InvalidArgumentError):
            client.edit_message(session_id, 2, "x", **wrong)  # type: ignore[arg-type]


async def test_an_edit_of_a_call_or_result_keeps_the_pair(hooked_client: OblixClient) -> None:
    session_id = await a_session(hooked_client, "question")
    calls = [{"call_id": "a", "name": "look", "arguments": {}}]
    said = [
        {"role": "assistant", "content": "I look.", "tool_calls": calls},
        {"role": "tool", "call_id": "a", "content": "seen"},
    ]
    await hooked_client.execute(said, session_id=session_id, stream=False)
    call = hooked_client.edit_message(session_id, 2, "Let me look.")
    assert call["content"] == "Let me look."
    assert [part for part in call["parts"] if "tool_call" in part]
    result = hooked_client.edit_message(session_id, 3, "unseen")
    assert result["parts"] == [{"tool_result": {"call_id": "a", "content": "unseen"}}]
    assert len(hooked_client.delete_messages(session_id, 3, exact=True)) == 1
    assert len(hooked_client.delete_messages(session_id, 2)) == 1


async def test_excluded_messages_are_not_sent(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    session_id = await a_session(hooked_client, "bad", "good")
    assert hooked_client.exclude_messages(session_id, 1, "TOO_LONG", "Nobody needs it.") == 1
    mark = messages(hooked_client, session_id)[0]["excluded"]
    assert (mark["reason"], mark["detail"]) == ("TOO_LONG", "Nobody needs it.")
    response = await hooked_client.execute("now", session_id=session_id, stream=False)
    assert "bad" not in str(ollama.requests[-1].body["messages"])
    assert response["metrics"]["excluded_messages"] == 1
    (left_out,) = response["metrics"]["excluded"]
    assert (left_out["sequence"], left_out["reason"], left_out["detail"]) == (
        1,
        "TOO_LONG",
        "Nobody needs it.",
    )
    assert left_out["message_id"] == messages(hooked_client, session_id)[0]["id"]
    await hooked_client.execute("now", session_id=session_id, stream=False, include_excluded=True)
    assert "bad" in str(ollama.requests[-1].body["messages"])
    assert hooked_client.include_messages(session_id, [1, 2]) == 1
    await hooked_client.execute("now", session_id=session_id, stream=False)
    assert "bad" in str(ollama.requests[-1].body["messages"])


async def test_a_question_is_answered_anew(
    hooked_client: OblixClient, ollama: OllamaServer, capsys: pytest.CaptureFixture[str]
) -> None:
    ollama.script("first", "second", "third", "fourth")
    session_id = await hooked_client.create_and_use_session()
    await hooked_client.execute("Why?", stream=False)
    assert (await hooked_client.regenerate())["response"] == "second"
    response = await hooked_client.regenerate(session_id, 1, stream=True, display_metrics=False)
    assert (response["response"], capsys.readouterr().out.strip()) == ("third", "third")
    answer = messages(hooked_client, session_id)[1]
    events = [event async for event in hooked_client.stream(regenerate_message_id=answer["id"])]
    assert isinstance(events[-1], Completed)
    assert texts_of(hooked_client, session_id) == ["Why?", "fourth"]
    older = [old["content"] for old in hooked_client.list_message_versions(session_id, -1)]
    assert older == ["third", "second", "first"]
    hooked_client.session_manager.save_message(session_id, "More", role="assistant")
    with pytest.raises(FailedPreconditionError) as caught:
        await hooked_client.regenerate(session_id, answer["id"])
    assert caught.value.reason == "MESSAGE_NOT_LAST"
    hooked_client.current_session_id = None
    with pytest.raises(InvalidArgumentError):
        await hooked_client.regenerate()


async def test_a_file_carries_marks_versions_and_data(client: OblixClient, tmp_path: Path) -> None:
    session_id = await a_session(client, "one")
    client.session_manager.save_message(session_id, "two", client_data=b"\xff\0")
    client.edit_message(session_id, 1, "eins")
    client.exclude_messages(session_id, 2)
    before = messages(client, session_id)
    await client.export_session(session_id, tmp_path / "session.json")
    imported = await client.import_session(tmp_path / "session.json")
    assert messages(client, imported) == before
    assert {"version", "client_data", "excluded"} <= before[0].keys() | before[1].keys()
    await client.export_sessions([imported], tmp_path / "sessions.jsonl")
    report = await client.import_sessions(tmp_path / "sessions.jsonl")
    assert messages(client, report.sessions[0].session_id or "") == before


async def test_the_turn_of_a_replaced_answer_is_explained_by_its_own_model(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    ollama.script("first", "second")
    session_id = await hooked_client.create_session()
    await hooked_client.execute("Why?", session_id=session_id, stream=False)
    await hooked_client.regenerate(session_id)
    turns = hooked_client.explain_session(session_id)
    assert turns is not None
    assert [turn["model"] for turn in turns] == ["ollama:llama2"] * 2
    assert [turn["prompt"] for turn in turns] == ["Why?"] * 2
