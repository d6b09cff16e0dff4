"""`oblix chat`, and what a person at a terminal sees."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from oblix import Delta, Event, Queued, Rerouted, Started
from oblix.cli.output import answers
from oblix.cli.output.events import of_client
from oblix.testing import Answer, OllamaServer, OpenAIServer
from oblix.testing.faults import Refuse, Stall
from support.drivers.terminal import Terminal, terminal

COMMAND = (sys.executable, "-m", "oblix")
PROMPT = ">"
"""What the line editor shows first; it moves the cursor over the space."""
PASTE = "\x1b[200~{}\x1b[201~"
"""What a terminal sends for a paste."""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


@pytest.fixture
def chat(oblix, ollama: OllamaServer):
    command = (*COMMAND, "chat", "--local-model", "ollama:llama2", "--local-endpoint", ollama.url)
    with terminal(*command) as shown:
        shown.wait_for(PROMPT)
        yield shown


def newest(oblix) -> dict:
    session_id = oblix("sessions", "list", "--limit", "1").stdout.split("\t")[0]
    return json.loads(oblix("sessions", "view", "--json", session_id).stdout)


def leave(chat: Terminal, keys: str = "exit\n") -> None:
    chat.type(keys)
    chat.rest()
    assert chat.process.wait(60) == 0


def say(chat: Terminal, line: str) -> str:
    """Send a prompt. Returns what was shown up to the line about its answer."""
    chat.type(f"{line}\n")
    return chat.wait_for("tokens")


def test_a_conversation_goes_on_until_exit(chat: Terminal, oblix, ollama: OllamaServer) -> None:
    for word in ("First", "Second"):
        assert f"You said: {word}" in say(chat, word)
    leave(chat)
    assert [m["content"] for m in newest(oblix)["messages"]][::2] == ["First", "Second"]
    assert len(ollama.requests[-1].body["messages"]) == 3


def test_a_chat_is_called_after_the_first_prompt(chat: Terminal, oblix) -> None:
    chat.type("/help\n")
    chat.wait_for("as /exit and Ctrl-D do.")
    for line in ("What is   up?", "And now?"):
        say(chat, line)
    leave(chat)
    assert newest(oblix)["title"] == "What is up?"
    assert len(newest(oblix)["messages"]) == 4
    oblix("chat", "--session", newest(oblix)["id"], "--no-metrics", stdin="Hello\n")
    assert newest(oblix)["title"] == "What is up?"


def test_ctrl_c_ends_the_answer_and_not_the_chat(chat: Terminal, oblix, ollama: OllamaServer) -> None:
    ollama.script(Answer("one two three four", fault=Stall(after=2)))
    chat.type("Count\n")
    chat.wait_for("one two")
    chat.type("\x03")
    chat.wait_for("[cancelled; the part above is kept in session ")
    assert ollama.requests[-1].abandoned.wait(60)
    chat.wait_for(PROMPT)
    assert "You said: Go on" in say(chat, "Go on")
    chat.wait_for(PROMPT)  # Ctrl-D is the line editor's key: pressed before it reads, the terminal eats it
    leave(chat, "\x04")
    assert [m.get("status") for m in newest(oblix)["messages"]] == [None, "cancelled", None, None]


def test_ctrl_c_while_it_waits_says_that_nothing_is_recorded(ask, oblix, ollama: OllamaServer) -> None:
    ollama.script(Answer("one two", fault=Stall(after=1)))
    session_id = oblix("sessions", "create", "Busy").stdout.rstrip("\n")
    running = ask("--detach", "--session", session_id, "First").stdout.rstrip("\n")
    ollama.wait_for_requests(1)
    with terminal(*COMMAND, "chat", "--session", session_id) as chat:
        chat.wait_for(PROMPT)
        chat.type("Second\n")
        chat.wait_for("[waiting: 1 before this one]")
        chat.type("\x03")
        chat.wait_for("[cancelled before its turn came; nothing is recorded]")
        leave(chat)
    oblix("cancel", running)
    view = json.loads(oblix("sessions", "view", "--json", session_id).stdout)
    assert "Second" not in [message["content"] for message in view["messages"]]


DELTA = Delta("One", "text", 0)
BEGUN = Started("r", "s", "ollama:llama2", {}, [])


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ([], "cancelled"),
        ([Queued("r", 1)], "cancelled before its turn came; nothing is recorded"),
        ([Queued("r", 1), BEGUN], "cancelled; the question is kept in session s"),
        ([BEGUN, Queued("r", 1, "ollama:llama2")], "cancelled; the question is kept in session s"),
        ([BEGUN, DELTA], "cancelled; the part above is kept in session s"),
        ([BEGUN, DELTA, Rerouted("a", "b", "R", "")], "cancelled; the question is kept in session s"),
        ([Started("r", None, "ollama:llama2", {}, []), DELTA], "cancelled"),
    ],
)
async def test_the_line_about_a_cancelled_answer_is_true(seen: list[Event], says: str) -> None:
    async def events() -> AsyncGenerator[Event, None]:
        for event in seen:
            yield event

    recorded = answers.Recorded()
    async for event in of_client(events()):
        recorded.note(event)
    assert recorded.cancelled_text("the part above") == says


def test_ctrl_c_at_the_prompt_drops_the_line_and_twice_ends_the_chat(chat: Terminal, oblix) -> None:
    before = oblix("sessions", "list").stdout
    chat.type("half a thou")
    chat.wait_for("half a thou")
    chat.type("\x03")
    chat.wait_for("Ctrl-C once more")
    chat.wait_for(PROMPT)
    chat.type("\x03")
    chat.rest()
    assert chat.process.wait(60) == 0
    assert oblix("sessions", "list").stdout == before


def test_dropping_several_lines_does_not_end_the_chat(chat: Terminal, oblix) -> None:
    for line in ("half a thought", "the other half"):
        chat.type(line)
        chat.wait_for(line)
        chat.type("\x03")
        chat.wait_for("Ctrl-C once more")
        chat.wait_for(PROMPT)
    assert "You said: Whole" in say(chat, "Whole")
    leave(chat)


def test_a_chat_that_goes_on_says_with_what(oblix, ask) -> None:
    ask("About trains")
    with terminal(*COMMAND, "chat", "--last") as chat:
        chat.wait_for('[this goes on with "About trains", 2 messages]')
        chat.wait_for(PROMPT)
        leave(chat)


def test_an_unknown_session_is_refused_at_the_start(oblix) -> None:
    done = oblix("chat", "--session", "nobody", stdin="Hello\n", ok=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "oblix: there is no session nobody. `oblix sessions list` shows which there are.\n"
    )


def test_an_answer_is_followed_by_one_dim_line(chat: Terminal) -> None:
    shown = say(chat, "First")
    assert "session" not in shown.lower()
    assert re.search(r"^llama2 · local · \d+\.\d s · \d+ tokens$", shown, re.MULTILINE)
    assert "\x1b[2mllama2 · local" in chat.raw
    leave(chat)


def test_ctrl_d_leaves_the_shell_a_line_of_its_own(chat: Terminal) -> None:
    chat.type("\x04")
    assert chat.rest().endswith("\n")


def test_a_model_that_fails_ends_the_answer_and_not_the_chat(chat: Terminal, ollama: OllamaServer) -> None:
    ollama.models.clear()
    chat.type("Hello\n")
    chat.wait_for("oblix: ")
    chat.wait_for(PROMPT)
    leave(chat)


def test_a_table_is_for_people(oblix) -> None:
    oblix("sessions", "create", "A title \x1b]0;owned\x07 of mine", "--metadata", "test=table")
    with terminal(*COMMAND, "sessions", "list", "--filter", "test=table") as shown:
        text = shown.rest()
    assert "TITLE" in text
    assert "A title ]0;owned of mine" in text
    assert "\x1b]0" not in shown.raw


def test_an_id_is_never_folded_and_a_title_has_room(oblix) -> None:
    title = "The very long title of a conversation about everything under the sun"
    session_id = oblix("sessions", "create", title, "--metadata", "test=cut").stdout.strip()
    listing = [*COMMAND, "sessions", "list", "--filter", "test=cut"]
    for columns, shown_title in (("80", "The very long title of a conversat"), ("120", title), ("40", "")):
        with terminal("env", f"COLUMNS={columns}", *listing) as shown:
            lines = shown.rest().splitlines()
        (line,) = [line for line in lines if session_id[:8] in line]
        assert shown_title in line
        assert ("…" in line) == (columns == "80")
        assert len(lines) == (2 if columns != "40" else 5)
        assert line.split()[0] == session_id[: len(line.split()[0])]


def test_an_answer_cannot_take_over_the_terminal(oblix, ollama: OllamaServer) -> None:
    ollama.script("plain \x1b]0;owned\x07 text")
    command = (*COMMAND, "ask", "--model", "ollama:llama2", "--endpoint", ollama.url, "Hello")
    with terminal(*command) as shown:
        shown.rest()
    assert "plain ]0;owned text" in shown.raw


def test_an_unused_chat_leaves_no_session(chat: Terminal, oblix) -> None:
    before = oblix("sessions", "list", "--all").stdout
    leave(chat, "/quit\n")
    assert oblix("sessions", "list", "--all").stdout == before


def test_a_failed_turn_stays_and_shows(chat: Terminal, oblix, ollama: OllamaServer) -> None:
    ollama.models.clear()
    chat.type("Hello\n")
    chat.wait_for("oblix: ")
    chat.wait_for(PROMPT)
    leave(chat)
    assert newest(oblix)["messages"][0]["content"] == "Hello"


@pytest.mark.parametrize("word", ["/exit", "/quit", "exit", "quit"])
def test_words_that_end_the_chat_never_go_to_the_model(
    chat: Terminal, ollama: OllamaServer, word: str
) -> None:
    leave(chat, f"{word}\n")
    assert not [one for one in ollama.requests if one.body and one.body.get("messages")]


def test_an_unknown_word_is_refused_with_the_nearest(chat: Terminal, ollama: OllamaServer) -> None:
    chat.type("/modle\n")
    chat.wait_for("there is no /modle. Did you mean /model?")
    chat.type("?\n")
    chat.wait_for("as /exit and Ctrl-D do.")
    assert "You said: /etc is what?" in say(chat, "//etc is what?")
    leave(chat)
    assert [one.body["messages"][-1]["content"] for one in ollama.requests if one.body.get("messages")] == [
        "/etc is what?"
    ]


def test_a_paste_of_four_lines_is_one_prompt(chat: Terminal, ollama: OllamaServer) -> None:
    chat.type(PASTE.format("one\ntwo\nthree\nfour"))
    chat.wait_for("four")
    say(chat, "")
    leave(chat)
    assert ollama.requests[-1].body["messages"][-1]["content"] == "one\ntwo\nthree\nfour"


def test_a_line_that_ends_with_a_backslash_goes_on(chat: Terminal, ollama: OllamaServer) -> None:
    chat.type("one\\\n")
    chat.wait_for("…")
    chat.type("two\x1b\nthree")
    say(chat, "")
    leave(chat)
    assert ollama.requests[-1].body["messages"][-1]["content"] == "one\ntwo\nthree"


def test_the_history_of_one_chat_is_there_in_the_next(chat: Terminal, ollama: OllamaServer) -> None:
    say(chat, "Something to remember")
    leave(chat)
    command = (*COMMAND, "chat", "--local-model", "ollama:llama2", "--local-endpoint", ollama.url)
    with terminal(*command) as next_chat:
        next_chat.wait_for(PROMPT)
        next_chat.type("/new\n")
        next_chat.wait_for("new session]")
        next_chat.wait_for(PROMPT)
        next_chat.type("\x1b[A" * 3)  # over /new and exit
        next_chat.wait_for("Something to remember")
        assert "You said: Something to remember" in say(next_chat, "")
        leave(next_chat)


def test_markdown_is_rendered_and_words_stay_whole(chat: Terminal, ollama: OllamaServer) -> None:
    words = "extraordinarily " * 12
    ollama.script(f"# Heading\n\n- **first**\n- second\n\n{words}")
    shown = say(chat, "Write")
    assert "**" not in shown
    assert " • first" in shown
    assert "# Heading" not in shown
    for line in shown.splitlines():
        assert set(line.split()) <= {"extraordinarily"} or "extraordinarily" not in line
    leave(chat)


def test_markdown_loses_no_word_and_keeps_the_lines_of_a_poem(chat: Terminal, ollama: OllamaServer) -> None:
    ollama.script("Use the <Part> tag.\n\n<div>\nwhole\n</div>\n\nRoses are red,\nviolets are blue.")
    shown = [line.strip() for line in say(chat, "Write").splitlines()]
    for line in ("Use the <Part> tag.", "<div>", "whole", "</div>", "Roses are red,", "violets are blue."):
        assert line in shown
    leave(chat)


def test_code_has_no_margin_and_can_be_copied_from_the_terminal(chat: Terminal, ollama: OllamaServer) -> None:
    ollama.script("Here:\n\n```python\ndef one():\n    return 1\n```\n\nDone.")
    shown = [line.rstrip() for line in say(chat, "Write").splitlines()]
    assert "def one():" in shown
    assert "    return 1" in shown
    leave(chat)


def test_plain_shows_an_answer_as_it_is(oblix, ollama: OllamaServer) -> None:
    ollama.script("# Heading")
    with terminal(*COMMAND, "chat", "--plain", "-m", "ollama:llama2", "--endpoint", ollama.url) as chat:
        chat.wait_for(PROMPT)
        assert "# Heading" in say(chat, "Write")
        leave(chat)


def test_a_question_is_answered_anew_taken_back_and_changed(
    chat: Terminal, oblix, ollama: OllamaServer
) -> None:
    say(chat, "One")
    ollama.script("Another answer")
    assert "Another answer" in say(chat, "/retry")
    chat.type("/edit\n")
    chat.wait_for("One")
    assert "You said: One and two" in say(chat, " and two")
    say(chat, "Three")
    chat.type("/undo\n")
    chat.wait_for("[taken out: Three]")
    leave(chat)
    assert [m["content"] for m in newest(oblix)["messages"]] == ["One and two", "You said: One and two"]


def test_a_question_whose_edit_was_dropped_stays(chat: Terminal, oblix, ollama: OllamaServer) -> None:
    say(chat, "One")
    chat.type("/edit\n")
    chat.wait_for("> One")
    chat.type("\x03")
    chat.wait_for("[Ctrl-C once more")
    say(chat, "Two")
    leave(chat)
    assert [m["content"] for m in newest(oblix)["messages"]][::2] == ["One", "Two"]


def test_an_image_stays_with_its_question(
    chat: Terminal, oblix, ollama: OllamaServer, tmp_path: Path
) -> None:
    picture = tmp_path / "dot.png"
    picture.write_bytes(PNG)
    chat.type(f"/image {picture}\n")
    chat.wait_for("goes with your next prompt]")
    ollama.script(Answer(fault=Refuse(400, "not now")))
    chat.type("Look\n")
    chat.wait_for("oblix: ")
    say(chat, "/retry")
    assert ollama.requests[-1].body["messages"][-1]["images"]
    chat.type("/edit\n")
    chat.wait_for("> Look")
    say(chat, " here")
    asked = ollama.requests[-1].body["messages"]
    assert [(one["content"], bool(one["images"])) for one in asked] == [("Look here", True)]
    leave(chat)


def test_the_last_answer_of_a_continued_session_can_be_copied(oblix, ask) -> None:
    ask("Hi")
    with terminal("env", "-u", "DISPLAY", "-u", "WAYLAND_DISPLAY", *COMMAND, "chat", "--last") as chat:
        chat.wait_for(PROMPT)
        chat.type("/copy\n")
        chat.wait_for("[12 characters are in the clipboard]")
        assert "\x1b]52;c;WW91IHNhaWQ6IEhp\x07" in chat.raw
        leave(chat)


def test_each_cloud_model_that_nobody_named_is_confirmed(oblix, daemon_home: Path) -> None:
    with OpenAIServer(["one", "two"]) as server:
        config = daemon_home / "config.toml"

        def configure(name: str) -> None:
            model = f'[[models]]\nname = "{name}"\nprovider = "custom"\nlocation = "cloud"\n'
            config.write_text(f'{model}endpoint = "{server.url}"\n')
            oblix("reload")

        try:
            configure("one")
            with terminal(*COMMAND, "chat") as chat:
                chat.wait_for(PROMPT)
                chat.type("Hello\n")
                assert "custom:one" in chat.wait_for("[N]o: ")
                say(chat, "o")
                configure("two")
                for no in ("n\n", "\x03"):
                    chat.type("/retry\n")
                    assert "custom:two" in chat.wait_for("[N]o: ")
                    chat.type(no)
                    chat.wait_for("nothing was sent")
                leave(chat)
        finally:
            config.unlink()
            oblix("reload")


def test_a_chat_takes_a_system_message_and_files_and_can_be_saved(
    chat: Terminal, oblix, tmp_path: Path
) -> None:
    note, saved = tmp_path / "note.txt", tmp_path / "saved.md"
    note.write_text("The code is 4711.")
    for line, shown in [
        ("/system Be short.", "[system message: Be short.]"),
        (f"/file '{note}'", "goes with your next prompt]"),
    ]:
        chat.type(f"{line}\n")
        chat.wait_for(shown)
    assert "4711" in say(chat, "Which code?")
    for line, shown in [
        ("/explain", "why "),
        ("/cost", "1 answer,"),
        ("/search 4711", "Which code?"),
        (f"/save {note}", "exists already"),
        *[(f"/save {saved}", "the conversation is in")] * 2,
        ("/metrics", "[network: "),
        ("/fork", "[this goes on in a copy, session "),
        ("/cloud", "[cloud models go first]"),
        ("/edge", "[local models go first]"),
        ("/model", "[model: chosen by routing]"),
        ("/new", "[the next prompt begins a new session]"),
        ("/copy", "oblix: nothing was said yet."),
    ]:
        chat.type(f"{line}\n")
        chat.wait_for(shown)
    leave(chat)
    assert "Which code?" in saved.read_text()
    forked = newest(oblix)
    assert forked["context"]["system"] == "Be short."
    assert forked["title"] == "Which code?"
