"""A conversation that outlives its servers: killed, overloaded, gone, and back again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from oblix.testing import Answer, ModelServer, OllamaServer, OpenAIServer, Refuse
from support.drivers.terminal import terminal

CLOUD = "gpt-4o-mini"


@contextmanager
def local_server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """An Ollama in a process of its own, which answers slowly enough to be killed meanwhile, and its URL."""
    command = [sys.executable, "-m", "oblix.testing", "ollama", "--tokens-per-second", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def last_context(*servers: ModelServer) -> list[tuple[str, str]]:
    """(role, content) of the context that one of the servers got last."""
    (asked,) = [
        one.body
        for server in servers
        for one in server.requests
        if one.method == "POST" and one.body.get("messages")
    ]
    return [(message["role"], message["content"]) for message in asked["messages"]]


def test_a_conversation_goes_on_through_everything(oblix) -> None:
    cloud = OpenAIServer([CLOUD]).start()
    with local_server() as (local, url):
        models = f"--local-model ollama:llama2 --cloud-model openai:{CLOUD} --policy prefer-local"
        places = ["--local-endpoint", url, "--cloud-endpoint", cloud.url]
        with terminal(sys.executable, "-m", "oblix", "chat", *models.split(), *places) as chat:
            chat.wait_for(">")

            def say(line: str, ends_with: str) -> str:
                chat.type(f"{line}\n")
                return chat.wait_for(ends_with)

            assert "You said: One" in say("One", "tokens")

            chat.type("Two words and more\n")
            chat.wait_for("You said: Two")
            local.kill()
            chat.wait_for(f"starts anew on openai:{CLOUD}")
            assert "You said: Two words and more" in chat.wait_for("tokens")

            cloud.script(*[Answer(fault=Refuse(529, "overloaded"))] * 3)
            say("Three", "oblix: None of ")
            cloud.close()
            say("Four", "oblix: None of ")

            local_port = int(url.rpartition(":")[2])
            with OpenAIServer([CLOUD], port=cloud.port) as back, OllamaServer(port=local_port) as here:
                assert "You said: Five" in say("Five", "tokens")
                context = last_context(back, here)
            chat.type("exit\n")
            chat.rest()

    session_id = oblix("sessions", "list", "--limit", "1").stdout.split("\t")[0]
    messages = json.loads(oblix("sessions", "view", "--json", session_id).stdout)["messages"]
    assert [(m["role"], m["content"], m.get("status")) for m in messages] == [
        ("user", "One", None),
        ("assistant", "You said: One", None),
        ("user", "Two words and more", None),
        ("assistant", "You said: Two words and more", None),
        ("user", "Three", None),
        ("user", "Four", None),
        ("user", "Five", None),
        ("assistant", "You said: Five", None),
    ]
    assert [m.get("model") for m in messages if m["role"] == "assistant"][:2] == [
        "ollama:llama2",
        f"openai:{CLOUD}",
    ]
    assert context == [(m["role"], m["content"]) for m in messages[:-1]]
