"""Who takes part in the table of `compare.py`: each answers the same prompts of the same fast server."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import grpc
import httpx
from measure import anonymous_mb
from oblix.v1 import (
    executions_pb2,
    executions_pb2_grpc,
    messages_pb2,
    sessions_pb2,
    sessions_pb2_grpc,
)
from raw_client import RawClient

PATH = "/v1/chat/completions"
TURNS = 20
"""Turns of a session before its lane begins another one."""
SERVING_S, PEER_S = 60.0, 180.0
"""Seconds until a side must serve, and LiteLLM's proxy, which takes many seconds of CPU to start."""
Message = messages_pb2.Message
Events = grpc.aio.UnaryStreamCall[executions_pb2.ExecuteRequest, executions_pb2.ExecuteResponse]
CONFIG = """
[openai]
endpoint = "{url}/v1"
models = {models}
[embedded]
enabled = false
"""


@dataclass(frozen=True, slots=True)
class Result:
    """One answer."""

    first_ms: float
    text: str


class Contender:
    """One side. Lanes ask beside each other; each lane has one prompt under way."""

    name: str

    async def open(self) -> None:
        """Be ready to be asked."""

    async def ask(self, model: str, lane: int = 0) -> Result:
        """Ask once, and read the whole answer."""
        raise NotImplementedError

    def cpu_s(self) -> float:
        """Return the CPU time of its process so far, in seconds; 0 where it has none."""
        return 0.0

    async def close(self) -> None:
        """End it."""


class Streams(Protocol):
    """A side that answers over a gRPC stream, in a process of its own."""

    def execute(self, model: str) -> Events:
        """Ask, and give the events as they come."""

    def memory_mb(self) -> float:
        """Return the process's own memory in MB."""


async def memory_of_open_kb(side: Streams, count: int) -> float:
    """Return what one open stream takes of a process's own memory, in kB, in the middle of its answer."""

    async def open_one() -> Events:
        call = side.execute("open")
        async for event in call:
            if event.HasField("delta"):
                return call
        raise AssertionError("it ended")

    opened = [await open_one()]
    before_mb = side.memory_mb()
    opened += await asyncio.gather(*(open_one() for _ in range(count)))
    each_kb = (side.memory_mb() - before_mb) * 1e3 / count
    for call in opened:
        call.cancel()
    return each_kb


class Raw(Contender):
    """An OpenAI server, asked by a client that costs next to nothing."""

    def __init__(self, name: str, url: str, token: str = "") -> None:
        self.name = name
        self._url, self._token = url, token
        self._lanes: dict[int, RawClient] = {}

    async def ask(self, model: str, lane: int = 0) -> Result:
        """See `Contender.ask`."""
        client = self._lanes.setdefault(lane, RawClient(self._url, PATH, self._token))
        result = await client.ask(model)
        return Result(result.first_ms, result.text)

    async def close(self) -> None:
        """See `Contender.close`."""
        for client in self._lanes.values():
            await client.close()


class Httpx(Contender):
    """Plain httpx, straight to the server: what a program has without anybody between."""

    name = "httpx"

    def __init__(self, url: str) -> None:
        self._url = url + PATH
        limits = httpx.Limits(max_connections=1000, max_keepalive_connections=1000)
        self._client = httpx.AsyncClient(timeout=60, limits=limits)

    async def ask(self, model: str, lane: int = 0) -> Result:
        """See `Contender.ask`."""
        return await self.send(model, [{"role": "user", "content": "hello"}])

    async def send(self, model: str, messages: Sequence[dict[str, str]]) -> Result:
        """Send a conversation."""
        body = {"model": model, "stream": True, "messages": messages}
        began, first_ms, pieces = time.perf_counter(), 0.0, []
        async with self._client.stream("POST", self._url, json=body) as response:
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                for choice in json.loads(line[6:])["choices"]:
                    if content := choice["delta"].get("content"):
                        first_ms = first_ms or (time.perf_counter() - began) * 1e3
                        pieces.append(content)
        return Result(first_ms, "".join(pieces))

    async def close(self) -> None:
        """See `Contender.close`."""
        await self._client.aclose()


class Process(Contender):
    """A side that is a process of its own, in a home of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.home = Path(tempfile.mkdtemp(dir="/tmp", prefix="oblix-bench-"))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str, **environ: str) -> None:
        """Start it; what it writes goes to `errors` in its home."""
        with (self.home / "errors").open("wb") as errors:
            self.process = subprocess.Popen(
                command, env={**os.environ, **environ}, stdout=errors, stderr=errors, cwd=self.home
            )

    async def until(self, path: Path) -> None:
        """Wait until a file is there. Raises AssertionError where the process ends before."""
        until_s = time.monotonic() + SERVING_S
        while not await asyncio.to_thread(path.exists):
            assert self.process is not None
            alive = self.process.poll() is None and time.monotonic() < until_s
            assert alive, f"{self.name} does not serve: {(self.home / 'errors').read_text()[-2000:]}"
            await asyncio.sleep(0.02)

    def cpu_s(self) -> float:
        """See `Contender.cpu_s`: of all its threads, from the scheduler's own count."""
        assert self.process is not None
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def memory_mb(self) -> float:
        """Return its own memory in MB, mapped files aside."""
        assert self.process is not None
        return anonymous_mb(self.process.pid)

    async def close(self) -> None:
        """See `Contender.close`."""
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self.process.wait, 20)
        shutil.rmtree(self.home, ignore_errors=True)


class Oblix(Process):
    """A build of Oblix, over gRPC."""

    def __init__(self, name: str, build: Path, url: str, models: Sequence[str]) -> None:
        """`build`: the checkout that its code is taken from."""
        super().__init__(name)
        self._build, self._url, self._models = build, url, models
        self.socket = self.home / "oblixd.sock"
        self.serving_s = 0.0
        """Seconds from its start until it served."""
        self._lanes: dict[int, tuple[str, int]] = {}
        self.channel: grpc.aio.Channel
        self.executions: executions_pb2_grpc.ExecutionServiceAsyncStub
        self.sessions: sessions_pb2_grpc.SessionServiceAsyncStub

    async def open(self) -> None:
        """See `Contender.open`."""
        (self.home / "openai-api-key").write_text("sk-x")
        (self.home / "config.toml").write_text(
            CONFIG.format(url=self._url, models=json.dumps([*self._models]))
        )
        began = time.perf_counter()
        home = {"OBLIX_HOME": str(self.home), "CREDENTIALS_DIRECTORY": str(self.home)}
        self.start(
            sys.executable, "-m", "oblixd", PYTHONPATH=f"{self._build}:{self._build / 'client'}", **home
        )
        await self.until(self.socket)
        self.channel = grpc.aio.insecure_channel(f"unix:{self.socket}")
        await self.channel.channel_ready()
        self.serving_s = time.perf_counter() - began
        self.executions = executions_pb2_grpc.ExecutionServiceStub(self.channel)
        self.sessions = sessions_pb2_grpc.SessionServiceStub(self.channel)

    async def session(self, **metadata: str) -> str:
        """Make a session."""
        session = sessions_pb2.Session()
        session.metadata.update(metadata)
        made = await self.sessions.CreateSession(sessions_pb2.CreateSessionRequest(session=session))
        return made.session.id

    async def ask(self, model: str, lane: int = 0) -> Result:
        """See `Contender.ask`: recorded, in a session of the lane's own."""
        session_id, turns = self._lanes.get(lane, ("", TURNS))
        if turns == TURNS:
            session_id, turns = await self.session(), 0
        self._lanes[lane] = session_id, turns + 1
        return await self.send(model, session_id)

    def execute(self, model: str, session_id: str = "") -> Events:
        """See `Streams.execute`; without a session nothing is recorded."""
        given = Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="hello")])
        request = executions_pb2.ExecuteRequest(input=[given], session_id=session_id, model=f"openai:{model}")
        return self.executions.Execute(request)

    async def send(self, model: str, session_id: str) -> Result:
        """Send a prompt, and read the whole answer."""
        began, first_ms, pieces = time.perf_counter(), 0.0, []
        async for event in self.execute(model, session_id):
            if event.HasField("delta"):
                first_ms = first_ms or (time.perf_counter() - began) * 1e3
                pieces.append(event.delta.text)
        return Result(first_ms, "".join(pieces))

    async def recorded_sessions(self) -> list[list[Message]]:
        """Return what is on disk of the sessions that the lanes have now: asked of the store after a kill."""
        return [await self.messages(session_id) for session_id, _ in self._lanes.values()]

    async def messages(self, session_id: str) -> list[Message]:
        """Return a session's messages, at most a thousand."""
        asked = sessions_pb2.ListMessagesRequest(session_id=session_id, page_size=1000)
        return list((await self.sessions.ListMessages(asked)).messages)

    async def close(self) -> None:
        """See `Contender.close`."""
        await self.channel.close()
        await super().close()


@dataclass(slots=True)
class Unrecorded(Contender):
    """The same daemon, without a session: nothing is recorded."""

    oblix: Oblix
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"{self.oblix.name}, no session"

    async def ask(self, model: str, lane: int = 0) -> Result:
        """See `Contender.ask`."""
        return await self.oblix.send(model, "")

    def cpu_s(self) -> float:
        """See `Contender.cpu_s`."""
        return self.oblix.cpu_s()


class Bare(Process):
    """A gRPC stream over one POST of aiohttp's, and nothing else: what the parts alone take."""

    def __init__(self, url: str) -> None:
        super().__init__("bare parts")
        self._url = url

    async def open(self) -> None:
        """See `Contender.open`."""
        socket_path = self.home / "bare.sock"
        here = str(Path(__file__).parent)
        self.start(
            sys.executable,
            f"{here}/bare_daemon.py",
            str(socket_path),
            self._url,
            PYTHONPATH=os.pathsep.join(sys.path),
        )
        await self.until(socket_path)
        self._channel = grpc.aio.insecure_channel(f"unix:{socket_path}")
        self._stub = executions_pb2_grpc.ExecutionServiceStub(self._channel)
        self.sessions: sessions_pb2_grpc.SessionServiceAsyncStub = sessions_pb2_grpc.SessionServiceStub(
            self._channel
        )

    def execute(self, model: str) -> Events:
        """See `Streams.execute`."""
        return self._stub.Execute(executions_pb2.ExecuteRequest(model=model))

    async def ask(self, model: str, lane: int = 0) -> Result:
        """See `Contender.ask`."""
        began, first_ms, pieces = time.perf_counter(), 0.0, []
        async for event in self.execute(model):
            first_ms = first_ms or (time.perf_counter() - began) * 1e3
            pieces.append(event.delta.text)
        return Result(first_ms, "".join(pieces))

    async def close(self) -> None:
        """See `Contender.close`."""
        await self._channel.close()
        await super().close()


class LiteLlm(Process):
    """LiteLLM's proxy, in an environment of its own."""

    def __init__(self, command: Path, url: str, models: Sequence[str]) -> None:
        super().__init__("LiteLLM proxy")
        self._command, self._url, self._models = command, url, models
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        # It starts with no key that is easy to guess.
        self._key = f"sk-{secrets.token_hex(32)}"
        self._raw = Raw(self.name, f"http://127.0.0.1:{self._port}", self._key)

    async def open(self) -> None:
        """See `Contender.open`. It takes some ten seconds to start."""
        served = [
            {
                "model_name": model,
                "litellm_params": {
                    "model": f"openai/{model}",
                    "api_base": f"{self._url}/v1",
                    "api_key": "sk-x",
                },
            }
            for model in self._models
        ]
        # JSON is YAML.
        (self.home / "config.yaml").write_text(json.dumps({"model_list": served}))
        self.start(
            str(self._command),
            *("--config", str(self.home / "config.yaml")),
            *("--host", "127.0.0.1", "--port", str(self._port)),
            LITELLM_LOCAL_MODEL_COST_MAP="True",
            LITELLM_TELEMETRY="False",
            LITELLM_MASTER_KEY=self._key,
        )
        until_s = time.monotonic() + PEER_S
        async with httpx.AsyncClient() as client:
            while self.process and self.process.poll() is None and time.monotonic() < until_s:
                with suppress(httpx.HTTPError):
                    if (
                        await client.get(f"http://127.0.0.1:{self._port}/health/liveliness")
                    ).status_code == 200:
                        return
                await asyncio.sleep(0.2)
        raise AssertionError((self.home / "errors").read_text()[-2000:])

    async def ask(self, model: str, lane: int = 0) -> Result:
        """See `Contender.ask`."""
        return await self._raw.ask(model, lane)

    async def close(self) -> None:
        """See `Contender.close`."""
        await self._raw.close()
        await super().close()
