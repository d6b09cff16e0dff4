"""A tool's evening: it streams, calls tools, is stopped, loses the network, goes on, and is found again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from oblix.testing import Answer, OpenAIServer, Stall, ToolCall
from oblix.v1 import endpoint_pb2, endpoint_pb2_grpc
from support.drivers import daemon

CONFIG = """
[[models]]
name = "far"
provider = "custom"
endpoint = "{far}"
location = "cloud"
context_window = 32768
[[models]]
name = "near"
provider = "custom"
endpoint = "{near}"
location = "local"
context_window = 32768
[routing]
policy = "prefer-cloud"
[embedded]
enabled = false
[http]
port = 0
record = "auto"
"""
READ = {"type": "function", "function": {"name": "read_file", "parameters": {"type": "object"}}}
Messages = list[dict[str, Any]]


@dataclass
class Evening:
    """A tool, a model in the cloud and one on this machine."""

    client: openai.OpenAI
    far: OpenAIServer
    near: OpenAIServer
    home: Path
    messages: Messages

    def say(self, text: str) -> openai.Stream[Any]:
        self.messages.append({"role": "user", "content": text})
        return self.send()

    def send(self) -> openai.Stream[Any]:
        return self.client.chat.completions.create(
            model="auto", messages=self.messages, tools=[READ], stream=True
        )

    def answer_of(self, stream: openai.Stream[Any]) -> str:
        """Read an answer to its end, and keep it as tools do."""
        text, model = "", ""
        for chunk in stream:
            model = chunk.model
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        self.messages.append({"role": "assistant", "content": text})
        return f"{model}: {text}"

    def oblix(self, *words: str) -> str:
        """Run the command as the person does."""
        command = [sys.executable, "-m", "oblix", *words]
        environment = {**os.environ, "OBLIX_HOME": str(self.home)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout


@pytest.fixture
def evening() -> Iterator[Evening]:
    home = Path(tempfile.mkdtemp(prefix="oblix-", dir="/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home)
        far, near = (stack.enter_context(OpenAIServer([name])) for name in ("far", "near"))
        (home / "config.toml").write_text(CONFIG.format(far=far.url, near=near.url))
        running = stack.enter_context(daemon.run_daemon(home))
        stub = endpoint_pb2_grpc.EndpointServiceStub(running.channel)
        url = stub.OpenEndpoint(endpoint_pb2.OpenEndpointRequest()).url
        token = stub.CreateToken(endpoint_pb2.CreateTokenRequest(name="tool")).text
        client = openai.OpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0)
        yield Evening(stack.enter_context(client), far, near, home, [])


def test_a_tool_goes_on_with_the_local_model_when_the_cable_is_pulled(evening: Evening) -> None:
    evening.far.script(
        Answer(tool_calls=(ToolCall("read_file", {"path": "plan.md"}, "call_1"),)),
        "The plan says moss.",
        Answer("one two three four", fault=Stall(after=2)),
    )
    calls = [
        call
        for chunk in evening.say("What does the plan say?")
        if chunk.choices
        for call in chunk.choices[0].delta.tool_calls or []
    ]
    arguments = "".join(call.function.arguments or "" for call in calls)
    assert json.loads(arguments) == {"path": "plan.md"}
    function = {"name": calls[0].function.name, "arguments": arguments}
    called = {"id": calls[0].id, "type": "function", "function": function}
    evening.messages.append({"role": "assistant", "content": None, "tool_calls": [called]})
    evening.messages.append({"role": "tool", "tool_call_id": calls[0].id, "content": "moss"})
    assert evening.answer_of(evening.send()) == "custom:far: The plan says moss."

    stopped = evening.say("Count.")
    assert next(chunk for chunk in stopped if chunk.choices and chunk.choices[0].delta.content)
    stopped.close()
    assert evening.far.requests[-1].abandoned.wait(60), "the stop button frees the model"
    # Tools keep what there was of the answer.
    evening.messages.append({"role": "assistant", "content": "one two"})

    evening.far.close()
    evening.near.script("Thyme grows in sun.")
    assert evening.answer_of(evening.say("And in sun?")) == "custom:near: Thyme grows in sun."

    (session,) = json.loads(evening.oblix("sessions", "list", "--json"))
    shown = evening.oblix("sessions", "view", session["id"])
    for said in ("What does the plan say?", "The plan says moss.", "And in sun?", "Thyme grows in sun."):
        assert said in shown
