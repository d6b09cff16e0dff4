"""The test servers themselves: their script, their log, their end."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import psutil
import pytest
from oblix.testing import (
    Answer,
    ClaudeServer,
    Cut,
    Hang,
    ModelServer,
    OllamaServer,
    OpenAIServer,
    Stall,
)
from oblix.testing.answers import tokens

BODY = {"model": "llama2", "messages": [{"role": "user", "content": "hi"}], "stream": False}


def chat(server: ModelServer, **changes: object) -> str:
    """One question over plain HTTP, and the answer's text."""
    request = urllib.request.Request(server.url + "/api/chat", json.dumps({**BODY, **changes}).encode())
    with urllib.request.urlopen(request) as response:
        lines = [json.loads(line) for line in response.read().splitlines()]
    return "".join(line["message"]["content"] for line in lines)


def test_answers_come_in_the_order_of_the_script_then_an_echo() -> None:
    with OllamaServer() as server:
        server.script("First.", Answer("Second."))
        assert [chat(server, stream=stream) for stream in (True, False, True)] == [
            "First.",
            "Second.",
            "You said: hi",
        ]


def test_the_default_can_be_replaced() -> None:
    with OllamaServer() as server:
        server.default = lambda question: Answer(question.upper())
        assert chat(server) == "HI"


@pytest.mark.parametrize("text", ["", " ", "one", " one  two\nthree ", "\n", "a\N{NO-BREAK SPACE}b"])
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


def test_tokens_are_paced() -> None:
    with OllamaServer() as server:
        server.script(Answer("one two three", tokens_per_second=50, first_token_s=0.05))
        began = time.monotonic()
        chat(server, stream=True)
        assert time.monotonic() - began >= 0.05 + 3 / 50


def test_the_log_says_what_came_and_how_it_ended() -> None:
    with OllamaServer() as server:
        chat(server)
        [received] = server.requests
        assert received.body == BODY
        assert received.done.wait(60)
        assert not received.abandoned.is_set()


@pytest.mark.parametrize("fault", [Hang(), Stall(1)])
def test_the_log_says_when_a_client_went_away(fault: Any) -> None:
    with OllamaServer() as server:
        server.script(Answer("one two", fault=fault))
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", "/api/chat", json.dumps({**BODY, "stream": True}))
        [received] = server.wait_for_requests(1)
        connection.close()
        assert received.abandoned.wait(60)


def test_waiting_for_requests_that_do_not_come_ends() -> None:
    with OllamaServer() as server, pytest.raises(TimeoutError, match="0 prompts"):
        server.wait_for_requests(1, timeout_s=0.01)


@pytest.mark.parametrize("server_class", [OllamaServer, OpenAIServer, ClaudeServer])
def test_unknown_paths_are_not_found(server_class: type[ModelServer]) -> None:
    with server_class() as server:
        url = f"http://127.0.0.1:{server.port}/nothing/here"
        request = urllib.request.Request(url, headers={"anthropic-version": "2023-06-01"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
    with caught.value as error:
        assert error.code == 404


def test_a_body_that_is_no_json_is_refused() -> None:
    with OllamaServer() as server, pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(server.url + "/api/chat", b"nonsense")
    with caught.value as error:
        assert error.code == 400


def test_closing_leaves_nothing_behind() -> None:
    """Neither the threads of idle and of hanging connections, nor their descriptors."""
    threads, descriptors = threading.active_count(), psutil.Process().num_fds()
    with OllamaServer() as server:
        server.script(Answer(fault=Hang()), Answer("one two", fault=Stall(1)))
        clients = [http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(3)]
        for client in clients[:2]:
            client.request("POST", "/api/chat", json.dumps({**BODY, "stream": True}))
        clients[2].connect()
        server.wait_for_requests(2)
    for client in clients:
        client.close()
    assert threading.active_count() == threads
    assert psutil.Process().num_fds() == descriptors


def test_a_server_that_never_began_can_be_closed() -> None:
    OllamaServer().close()


def test_nobody_listens_after_the_end() -> None:
    with OllamaServer() as server:
        port = server.port
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_a_reset_is_a_reset() -> None:
    with OllamaServer() as server:
        server.script(Answer("one two", fault=Cut(1, reset=True)))
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", "/api/chat", json.dumps({**BODY, "stream": True}))
        with pytest.raises(ConnectionResetError):
            connection.getresponse().read()
        connection.close()


@pytest.mark.parametrize("kind", ["ollama", "openai", "claude"])
def test_the_command_serves_until_it_is_told_to_end(kind: str) -> None:
    command = [sys.executable, "-m", "oblix.testing", kind, "--model", "llama2", "--answer", "Hello!"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        if kind == "ollama":
            with urllib.request.urlopen(url + "/api/tags") as response:
                assert [model["name"] for model in json.load(response)["models"]] == ["llama2:latest"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_the_command_has_models_to_pull() -> None:
    command = [sys.executable, "-m", "oblix.testing", "ollama", "--library", "gemma", "mistral"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        for name in ("gemma", "mistral"):
            body = json.dumps({"model": name}).encode()
            with urllib.request.urlopen(f"{url}/api/pull", body) as answer:
                steps = [json.loads(answer.readline()) for _ in range(2)]
            assert steps[1]["total"] == 1_000_000_000
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_only_ollama_has_a_library() -> None:
    command = [sys.executable, "-m", "oblix.testing", "openai", "--library", "gemma"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--library belongs to ollama" in done.stderr


def test_the_servers_need_no_grpc_and_nothing_that_is_not_python() -> None:
    code = "import oblix.testing, sys; print([m for m in sys.modules if m.split('.')[0] in sys.argv[1:]])"
    heavy = ["grpc", "google", "aiohttp", "httpx", "lmdb", "psutil", "oblixd", "rich"]
    run = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
