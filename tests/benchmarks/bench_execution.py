"""What Execute adds to the first token, the turn recorded, against plain httpx on the same server."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import grpc
import httpx
from measure import Line, report
from oblix.testing import Answer, OllamaServer
from oblix.v1 import (
    executions_pb2,
    executions_pb2_grpc,
    messages_pb2,
    models_pb2,
    models_pb2_grpc,
    sessions_pb2,
    sessions_pb2_grpc,
)
from support.drivers.daemon import run_daemon

ROUNDS = 200
MOST_ADDED_MS = 5.0


def main() -> int:
    """Both sides in turn, on one fake server that answers at once."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home, OllamaServer(["llama2"]) as server:
        server.default = lambda _: Answer("Hello there.")
        with run_daemon(Path(home)) as daemon, httpx.Client() as client:
            through_oblix = Asker(daemon.channel, server.url)
            times = [(direct(client, server.url), through_oblix()) for _ in range(ROUNDS)][ROUNDS // 10 :]
    plain, through = (statistics.median(own) for own in zip(*times, strict=True))
    return report(
        "First token, recorded turn",
        [
            Line("plain httpx", plain, "ms"),
            Line("through Execute", through, "ms"),
            Line("added", through - plain, "ms", MOST_ADDED_MS),
        ],
    )


def direct(client: httpx.Client, url: str) -> float:
    """Milliseconds to the first token as a program has it without us."""
    body = {"model": "llama2", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    began = time.perf_counter()
    with client.stream("POST", f"{url}/api/chat", json=body) as response:
        lines = response.iter_lines()
        assert json.loads(next(lines))["message"]["content"]
        took = time.perf_counter() - began
        for _ in lines:
            pass
    return took * 1e3


class Asker:
    """The same through the daemon, in a new session each time."""

    def __init__(self, channel: grpc.Channel, url: str) -> None:
        self._sessions = sessions_pb2_grpc.SessionServiceStub(channel)
        self._executions = executions_pb2_grpc.ExecutionServiceStub(channel)
        hook = models_pb2.HookModelRequest(provider=models_pb2.PROVIDER_OLLAMA, name="llama2", endpoint=url)
        self._handle = models_pb2_grpc.ModelServiceStub(channel).HookModel(hook).handle

    def __call__(self) -> float:
        """Milliseconds to the first token."""
        session = self._sessions.CreateSession(sessions_pb2.CreateSessionRequest()).session
        question = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="Hi")])
        request = executions_pb2.ExecuteRequest(
            session_id=session.id, input=[question], candidates=[self._handle]
        )
        began = time.perf_counter()
        events = self._executions.Execute(request)
        assert any(event.HasField("delta") for event in events)
        took = time.perf_counter() - began
        for _ in events:
            pass
        return took * 1e3


if __name__ == "__main__":
    raise SystemExit(main())
