"""Connections to the embedded model."""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oblix.v1 import messages_pb2 as pb

from oblixd.models.answers import answer
from oblixd.models.base import (
    ChatRequest,
    Content,
    Finished,
    Location,
    ModelError,
    ModelErrorKind,
    State,
    Status,
)
from oblixd.models.connection import Streams
from oblixd.models.embedded import process, weights
from oblixd.models.embedded.process import Worker, WorkerSettings
from oblixd.models.embedded.supervisor import Supervisor
from oblixd.models.embedded.tools import check_tools
from oblixd.models.failures import Peer
from oblixd.models.hooks import HookSpec, derived_location
from oblixd.models.openai import CompletionDecoder, completion_body
from oblixd.models.prompts import joined, said

NOTICED_S = 1.0
"""A process that dies closes its socket first and is gone a moment later: how long to wait for that."""
_LOST = {ModelErrorKind.UNREACHABLE, ModelErrorKind.BROKEN_STREAM}


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """How the embedded model is served on this machine."""

    runtime_dir: Path
    """Where its socket goes: ours, with mode 0700."""
    state_dir: Path
    """Where it is noted that the weights were checked."""
    gguf: Path | None = None
    """The file to serve. None: the default weights."""
    context: int = 8192
    """Tokens of context for each answer under way."""
    slots: int = 1
    """Answers at the same time."""
    threads: int = 0
    """Threads to compute with. 0: half of the processors."""
    max_tokens: int = 1024
    """The longest answer where the request names no limit: a small model may not find an end by itself."""
    idle_unload_s: float = 600.0
    """Seconds without an answer after which the process is ended."""


class EmbeddedModels:
    """Makes connections to the embedded model, each with a process of its own, and knows their processes."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._settings = settings
        self._sockets = (settings.runtime_dir / f"w{number}.sock" for number in itertools.count())
        self._connections: weakref.WeakSet[EmbeddedConnection] = weakref.WeakSet()

    @property
    def name(self) -> str:
        """The model's name."""
        return weights.name_of(self._settings.gguf)

    def connect(self, spec: HookSpec) -> EmbeddedConnection:
        """Make a connection. It starts nothing."""
        connection = EmbeddedConnection(spec, self._settings, next(self._sockets))
        self._connections.add(connection)
        return connection

    def pids(self) -> list[int]:
        """List the processes that run now."""
        return [connection.pid for connection in self._connections if connection.pid is not None]


class EmbeddedConnection:
    """The embedded model, loaded on first use."""

    provider = "embedded"
    endpoint = ""

    def __init__(self, spec: HookSpec, settings: EmbeddedSettings, socket_path: Path) -> None:
        self.name = spec.name
        self.location: Location = derived_location(spec)
        self.context_window: int | None = spec.count("num_ctx") or settings.context
        self.origin = ""
        self.max_running: int | None = settings.slots
        self.features: tuple[str, ...] = ()
        self.memory_bytes = 0
        self._settings = settings
        self._socket_path = socket_path
        self._peer = Peer(title="The embedded model", endpoint="")
        self._weights: weights.Weights | None = None
        self._streams = Streams()
        self._supervisor = Supervisor(self._start, idle_unload_s=settings.idle_unload_s)

    @property
    def pid(self) -> int | None:
        """Its process, while one runs."""
        return self._supervisor.pid

    @property
    def limited_s(self) -> float:
        """See `Connection.limited_s`. Nobody limits it."""
        return 0.0

    async def count_tokens(self, messages: Sequence[pb.Message]) -> list[int] | None:
        """See `Connection.count_tokens`."""
        return None

    @property
    def running(self) -> int:
        """See `Connection.running`."""
        return self._streams.running

    def status(self) -> Status:
        """See `Connection.status`."""
        status = self._supervisor.status()
        return self._installed() if status.state is State.IDLE else status

    def keep_warm(self) -> None:
        """See `Connection.keep_warm`. Its process is on this machine, and loaded on first use."""

    async def confirm_location(self) -> None:
        """See `Connection.confirm_location`. It can be nowhere else."""

    async def probe(self) -> Status:
        """See `Connection.probe`. It is not loaded for that."""
        return self.status()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Content | Finished, None]:
        """See `Connection.stream`."""
        with self._streams.one():
            async with self._supervisor.use() as worker:
                try:
                    await check_tools(worker.http, request)
                    async with aclosing(self._answer(worker, request)) as items:
                        async for item in items:
                            yield item
                except ModelError as error:
                    raise await self._explained(worker, error) from error

    async def retire(self) -> None:
        """See `Connection.retire`."""
        await self._streams.none()
        await self.close()

    async def break_off(self) -> None:
        """See `Connection.break_off`: no network leads to it."""

    async def close(self) -> None:
        """See `Connection.close`."""
        await self._supervisor.close()

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Write the request in the words of llama.cpp's server."""
        if request.options.max_tokens is None:
            limited = replace(request.options, max_tokens=self._settings.max_tokens)
            request = replace(request, options=limited)
        # Small models were taught strict turns.
        return completion_body(self.name, request, joined(said(request.messages)), limit="max_tokens")

    def _answer(self, worker: Worker, request: ChatRequest) -> AsyncGenerator[Content | Finished, None]:
        decoder = CompletionDecoder(self._peer)
        return answer(worker.http, "/v1/chat/completions", self.body(request), decoder)

    async def _explained(self, worker: Worker, error: ModelError) -> ModelError:
        how = await worker.ended(NOTICED_S) if error.kind in _LOST else ""
        return self._supervisor.died(how) if how else error

    async def _start(self) -> Worker:
        try:
            found = await asyncio.to_thread(self._verified)
        except weights.WeightsError as error:
            self._weights = None
            raise self._peer.error(ModelErrorKind.NOT_PULLED, str(error)) from error
        settings = self._settings
        return await process.start(
            WorkerSettings(
                model=found.path,
                socket_path=self._socket_path,
                context=self.context_window or settings.context,
                slots=settings.slots,
                threads=settings.threads,
                temperature=found.temperature,
                repeat_penalty=found.repeat_penalty,
            ),
            self._peer,
        )

    def _verified(self) -> weights.Weights:
        found = self._found()
        weights.verify(found, self._settings.state_dir)
        return found

    def _installed(self) -> Status:
        # Every prompt's route asks for the status: what was found once is not looked for again.
        try:
            self._weights = self._weights or self._found()
        except weights.WeightsError as error:
            return Status(State.UNAVAILABLE, str(error))
        return Status(State.IDLE)

    def _found(self) -> weights.Weights:
        here = weights.name_of(self._settings.gguf)
        if self.name != here:
            raise weights.WeightsError(
                f"There is no embedded model {self.name}: this daemon has embedded:{here}."
            )
        return weights.find(self._settings.gguf)
