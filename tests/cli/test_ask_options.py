"""What goes with a question: system message, templates, files, schemas, tools; and how sessions are named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from oblix.cli.errors import CommandError
from oblix.cli.output import clipboard
from oblix.cli.prompting import schemas, toolbox
from oblix.testing import Answer, OllamaServer, OpenAIServer, Refuse, ToolCall
from support.drivers.terminal import terminal

COMMAND = (sys.executable, "-m", "oblix")
TOOLS = '''
def weather(city: str, days: int = 1) -> str:
    """Tell the weather of a city."""
    return f"snow in {city} for {days} days"

def broken() -> str:
    raise ValueError("no sensor")

def _hidden() -> None: ...
'''


def pdf(text: str) -> bytes:
    """Return a PDF file of one page with this text."""
    content = f"BT /F 12 Tf 9 9 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    written, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    end = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(written))
    return written + head + table + end


def last_context(ollama: OllamaServer) -> list[tuple[str, str]]:
    """(role, content) of the context that the model got last."""
    return [(message["role"], message["content"]) for message in ollama.requests[-1].body["messages"]]


def test_a_system_message_is_recorded_or_sent_along(ask, ollama: OllamaServer) -> None:
    for words in (["Hello"], ["-n", "Hello"]):
        ask("--system", "Be short.", *words)
        assert last_context(ollama) == [("system", "Be short."), ("user", "Hello")]
        if "-n" not in words:
            ask("-c", "And now?")
            assert last_context(ollama)[0] == ("system", "Be short.")


def test_a_question_in_quotes_needs_no_command(oblix, ollama: OllamaServer) -> None:
    assert oblix("Who are you?", "-m", "ollama:llama2", "--endpoint", ollama.url).stdout == (
        "You said: Who are you?\n"
    )
    assert oblix("-c", "And I?", "-m", "ollama:llama2", "--endpoint", ollama.url).returncode == 0
    assert last_context(ollama)[0] == ("user", "Who are you?")


def test_a_template_takes_variables_and_what_is_asked(ask, ollama: OllamaServer, daemon_home: Path) -> None:
    (daemon_home / "templates").mkdir(exist_ok=True)
    (daemon_home / "templates" / "review.toml").write_text(
        'prompt = "For $who: $input"\nsystem = "Be careful."\ndefaults = { who = "me" }\n'
    )
    (daemon_home / "templates" / "plain.md").write_text("Translate to French.\n")
    ask("-t", "review", "-p", "who=you", "the change")
    assert last_context(ollama) == [("system", "Be careful."), ("user", "For you: the change")]
    ask("-t", "review", "x")
    assert last_context(ollama)[-1] == ("user", "For me: x")
    ask("-t", "plain", "Good morning")
    assert last_context(ollama) == [("user", "Translate to French.\n\nGood morning")]
    for words, hint in [
        (["-t", "reviw", "x"], "Did you mean review?"),
        (["-t", "review", "-p", "whom=x", "x"], "no variable whom. Did you mean who?"),
    ]:
        assert hint in ask(*words, ok=False).stderr


def test_defaults_and_aliases_of_the_configuration(oblix, ollama: OllamaServer, daemon_home: Path) -> None:
    config = daemon_home / "config.toml"
    config.write_text('[defaults]\nmodel = "fast"\nsystem = "Hi."\n[aliases]\nfast = "ollama:llama2"\n')
    try:
        oblix("ask", "--endpoint", ollama.url, "Hello")
        assert last_context(ollama) == [("system", "Hi."), ("user", "Hello")]
        assert oblix("reload").returncode == 0
    finally:
        config.unlink()


def test_files_of_all_kinds_go_along(ask, ollama: OllamaServer, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("A note.")
    (tmp_path / "paper.pdf").write_bytes(pdf("The answer is 42."))
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (tmp_path / "noise.bin").write_bytes(b"\x00\xff\xfe")
    files = [word for name in ("note.txt", "paper.pdf", "photo.png") for word in ("-f", str(tmp_path / name))]
    ask(*files, "-f", "-", "What is it?", stdin="from a pipe")
    message = ollama.requests[-1].body["messages"][-1]
    for text in ("A note.", "The answer is 42.", "[page 1]", "from a pipe", "note.txt:"):
        assert text in message["content"]
    assert message["content"].endswith("What is it?")
    assert len(message["images"]) == 1
    for name, hint in [("noise.bin", "it is no text"), ("nothing.txt", "No such file")]:
        done = ask("-f", str(tmp_path / name), "x", ok=False)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert hint in done.stderr
    assert "curl -sL 'https://example.org/'" in ask("-f", "https://example.org/", "x", ok=False).stderr


def test_a_schema_in_a_line_makes_the_answer_json(ask, ollama: OllamaServer) -> None:
    ollama.script('{"name": "Ada", "age": 36}')
    done = ask("--schema", "name: str, age: int", "Invent a person")
    assert json.loads(done.stdout) == {"name": "Ada", "age": 36}
    assert ollama.requests[-1].body["format"]["required"] == ["name", "age"]
    ollama.script('{"name": "Ada"}')
    failed = ask("--schema", "name: str, age: int", "Again", ok=False)
    assert (failed.returncode, "does not fit the schema" in failed.stderr) == (1, True)


def test_schemas_are_files_json_or_fields(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"type": "array"}')
    assert schemas.schema_of(str(tmp_path / "s.json")) == {"type": "array"}
    assert schemas.schema_of('{"type": "object"}') == {"type": "object"}
    fields = schemas.schema_of("name, tags: [str], score: float = from 0 to 1, ok: bool")["properties"]
    assert fields == {
        "name": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "score": {"type": "number", "description": "from 0 to 1"},
        "ok": {"type": "boolean"},
    }
    assert schemas.schema_of("name, age int") == schemas.schema_of("name: str, age: int")
    for text, hint in [("age: year", "age is year"), ("a b c", "is no field"), ("no.json", "no.json")]:
        with pytest.raises(CommandError, match=hint):
            schemas.schema_of(text)


def test_tools_of_a_file_are_called_until_there_is_an_answer(oblix, tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    with OpenAIServer(["mine"]) as server:
        for more in ([], ["--no-session"]):
            calls = (ToolCall("weather", {"city": "Bern"}), ToolCall("broken", {}))
            server.script(Answer(tool_calls=calls), "It snows.")
            model = ["-m", "custom:mine", "--endpoint", server.url, "-T", str(tmp_path / "tools.py")]
            done = oblix("ask", *model, *more, "Weather?")
            assert done.stdout == "It snows.\n"
            assert '→ weather({"city": "Bern"})' in done.stderr
            results = [one for one in server.requests[-1].body["messages"] if one["role"] == "tool"]
            assert [one["content"] for one in results] == ["snow in Bern for 1 days", "ValueError: no sensor"]


def test_a_tool_is_described_by_its_annotations(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    weather, broken = toolbox.load([str(tmp_path / "tools.py")]).definitions()
    assert weather == {
        "name": "weather",
        "description": "Tell the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    }
    assert broken["name"] == "broken"


def test_only_the_first_code_block(ask, ollama: OllamaServer) -> None:
    ollama.script("Here:\n```python\nprint(1)\n```\nAnd:\n```\nno\n```\n")
    assert ask("-x", "Write").stdout == "print(1)\n"
    ollama.script("No code.")
    assert "has no code block" in ask("-x", "Write", ok=False).stderr
    assert clipboard.first_code_block("~~~~\na\n```\n~~~~\n") == "a\n```\n"
    assert clipboard.first_code_block("  ```\n  a\n   b\n  ```") == "a\n b\n"


def test_copy_reaches_the_terminals_clipboard(oblix, ollama: OllamaServer) -> None:
    words = ("ask", "-m", "ollama:llama2", "--endpoint", ollama.url, "--copy", "Hi")
    with terminal("env", "-u", "DISPLAY", "-u", "WAYLAND_DISPLAY", *COMMAND, *words) as shown:
        shown.rest()
    assert "\x1b]52;c;WW91IHNhaWQ6IEhp\x07" in shown.raw


def test_a_cloud_model_that_nobody_named_is_confirmed_once(
    oblix, daemon_home: Path, ollama: OllamaServer
) -> None:
    with OpenAIServer(["big"]) as server:
        config = daemon_home / "config.toml"
        config.write_text(
            f'[[models]]\nname = "big"\nprovider = "custom"\nlocation = "cloud"\nendpoint = "{server.url}"\n'
        )
        try:
            oblix("reload")
            with terminal(*COMMAND, "ask", "Hello") as asking:
                assert "a cloud model" in asking.wait_for("[N]o: ")
                asking.type("n\n")
                assert "nothing was sent" in asking.rest()
            assert server.requests == []
            with terminal(*COMMAND, "ask", "Hello") as asking:
                asking.wait_for("[N]o: ")
                asking.type("y\n")
                assert "You said: Hello" in asking.rest()
                assert "\x1b[33mbig · cloud" in asking.raw
            with terminal(*COMMAND, "ask", "Again") as asking:
                assert "a cloud model" not in asking.rest()
            assert oblix("ask", "From a program").stdout == "You said: From a program\n"
            config.write_text(config.read_text() + '[routing]\ncloud = "no"\n')
            oblix("reload")
            forbidden = oblix("ask", "Hello", ok=False)
            assert (forbidden.returncode, 'cloud = "no"' in forbidden.stderr) == (1, True)
        finally:
            config.unlink()
            oblix("reload")


def test_sessions_are_named_by_beginnings_places_and_titles(ask, oblix) -> None:
    older = oblix("sessions", "create", "About heat pumps").stdout.strip()
    newer = oblix("sessions", "create", "About solar cells").stdout.strip()
    for name, session_id in [
        ("@1", newer),
        ("@2", older),
        (newer[:-1], newer),
        ("about SOLAR cells", newer),
        ("heat pumps", older),
    ]:
        assert json.loads(oblix("sessions", "view", name, "--json").stdout)["id"] == session_id
    assert "2 sessions are meant by About" in oblix("sessions", "view", "About", ok=False).stderr
    assert "there is no session @99" in oblix("sessions", "view", "@99", ok=False).stderr
    oblix("sessions", "rename", "@2", "All", "Warmth")
    assert "All Warmth" in oblix("sessions").stdout
    ask("--session", "Warmth", "Hello")
    assert oblix("explain", "@1").returncode == 0
    assert oblix("sessions", "delete", "Warmth").returncode == 0
    assert oblix("sessions", "undelete", older[:-1]).returncode == 0


def test_a_session_is_picked_from_a_list(oblix) -> None:
    wanted = oblix("sessions", "create", "Zebra crossing").stdout.strip()
    with terminal(*COMMAND, "sessions", "pick") as picking:
        picking.wait_for("session:")
        picking.type("zbcr")
        picking.wait_for("Zebra crossing")
        picking.type("\r")
        assert wanted in picking.rest()
    assert "needs a terminal" in oblix("sessions", "pick", ok=False).stderr


@pytest.mark.parametrize("words", [["models"], ["tokens"], ["templates"], ["docs"], ["sessions"]])
def test_json_means_the_same_before_and_behind_list(oblix, words: list[str]) -> None:
    before = json.loads(oblix(*words, "--json").stdout)
    assert json.loads(oblix(*words, "list", "--json").stdout) == before
    assert json.loads(oblix(*words, "--json", "list").stdout) == before


def test_a_search_without_hits_says_so(oblix) -> None:
    done = oblix("sessions", "search", "xylophone")
    assert (done.stdout, done.stderr) == ("", "oblix: no message or title contains xylophone.\n")


def test_styles_are_left_out_where_nobody_wants_them(oblix, ollama: OllamaServer) -> None:
    words = ("ask", "-m", "ollama:llama2", "--endpoint", ollama.url, "Hi")
    for variable, has_styles in (("NO_COLOR=", True), ("NO_COLOR=1", False), ("TERM=dumb", False)):
        with terminal("env", variable, *COMMAND, *words) as shown:
            shown.rest()
        assert ("\x1b[2mllama2" in shown.raw) == has_styles


def test_the_time_that_a_server_asks_to_wait_for_is_told(ask, ollama: OllamaServer) -> None:
    ollama.default = lambda _: Answer(fault=Refuse(429, "slow down", headers={"Retry-After": "170"}))
    done = ask("--timeout", "20", "Hi", ok=False)
    assert "Wait 170 s, as it asks" in done.stderr
