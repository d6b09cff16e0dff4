"""Conversations at the terminal."""

from __future__ import annotations

import io

import pytest
from oblix import OblixClient
from oblix.testing import Answer, Cut, OllamaServer


@pytest.fixture
def type_lines(monkeypatch: pytest.MonkeyPatch):
    """Lets a person type lines."""

    def type_(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return type_


def texts_of(client: OblixClient, session_id: str) -> list[str]:
    session = client.load_session(session_id)
    assert session is not None
    return [message["content"] for message in session["messages"]]


@pytest.mark.parametrize("stream", [True, False])
async def test_chat_goes_on_until_exit(
    hooked_client: OblixClient, type_lines, capsys: pytest.CaptureFixture[str], stream: bool
) -> None:
    type_lines("And then?", "", "EXIT", "never read")
    response = await hooked_client.execute("Hello", chat=True, stream=stream, display_metrics=False)
    out = capsys.readouterr().out
    assert "You said: Hello\n" in out
    assert "You said: And then?\n" in out
    assert response["response"] == "You said: And then?"
    assert texts_of(hooked_client, response["session_id"]) == [
        "Hello",
        "You said: Hello",
        "And then?",
        "You said: And then?",
    ]


async def test_chat_stays_in_its_session_and_ends_with_the_input(
    hooked_client: OblixClient, type_lines
) -> None:
    type_lines()
    session_id = await hooked_client.create_session()
    response = await hooked_client.execute("Hello", session_id=session_id, chat=True)
    assert response["session_id"] == session_id
    assert response["response"] == "You said: Hello"
    assert texts_of(hooked_client, session_id) == ["Hello", "You said: Hello"]


async def test_an_answer_that_fails_does_not_end_the_chat(
    hooked_client: OblixClient, ollama: OllamaServer, type_lines, capsys: pytest.CaptureFixture[str]
) -> None:
    type_lines("This fails.", "This works.", "exit")
    ollama.script("Hello.", Answer("one two", fault=Cut(after=1)))
    response = await hooked_client.execute("Hello", chat=True)
    assert response["response"] == "You said: This works."
    assert "ollama" in capsys.readouterr().out


@pytest.mark.parametrize("call", ["start_chat", "chat_streaming"])
async def test_the_older_spellings_talk_too(
    hooked_client: OblixClient, type_lines, capsys: pytest.CaptureFixture[str], call: str
) -> None:
    type_lines("Hello", "exit")
    session_id = await getattr(hooked_client, call)()
    assert texts_of(hooked_client, session_id) == ["Hello", "You said: Hello"]
    type_lines("Again", "exit")
    assert await getattr(hooked_client, call)(session_id) == session_id
    assert len(texts_of(hooked_client, session_id)) == 4
    assert "You said: Again\n[ollama:llama2" in capsys.readouterr().out


async def test_chat_once_keeps_a_session(
    hooked_client: OblixClient, capsys: pytest.CaptureFixture[str]
) -> None:
    first = await hooked_client.chat_once("Hello")
    second = await hooked_client.chat_once(
        "Again", first["session_id"], temperature=0.2, model="ollama:llama2"
    )
    assert second["session_id"] == first["session_id"]
    assert texts_of(hooked_client, first["session_id"]) == [
        "Hello",
        "You said: Hello",
        "Again",
        "You said: Again",
    ]
    assert capsys.readouterr().out == ""


async def test_execute_streaming_writes(
    hooked_client: OblixClient, capsys: pytest.CaptureFixture[str]
) -> None:
    response = await hooked_client.execute_streaming("Hello", display_metrics=False)
    assert response["response"] == "You said: Hello"
    assert capsys.readouterr().out == "You said: Hello\n"


async def test_characters_that_a_terminal_cannot_show_do_not_end_the_answer(
    hooked_client: OblixClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    response = await hooked_client.execute("👋 hi", display_metrics=False)
    assert response["response"] == "You said: 👋 hi"
    assert raw.getvalue() == b"You said: ? hi\n"
