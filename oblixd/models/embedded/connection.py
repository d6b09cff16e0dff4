"""Connections to the embedded model.

What the embedded model's process tells of itself once it serves.

llama.cpp hands tools to the chat template in the file. A template that has no
place for them drops them, and the answer would be one of a model that never
heard of them: so it is asked whether there is one.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from oblix.v1 import messages_pb2

from oblixd.models import encoding
from oblixd.models.base import (
    ChatRequest,
    Content,
    Embeddings,
    EmbedRequest,
    Finished,
    Location,
    ModelError,
    ModelErrorKind,
    RequestTokens,
    State,
    Status,
    ToolChoice,
)
from oblixd.models.conversation_rules import alternate
from oblixd.models.egress import Egress, IsLocalOnly, allow_all
from oblixd.models.embedded import process, weights
from oblixd.models.embedded.files import ModelFile
from oblixd.models.embedded.gguf import Header
from oblixd.models.embedded.memory import BATCH, Memory, cache_bytes, free_bytes, half_of_the_machine, needs
from oblixd.models.embedded.process import Pooling, Worker, WorkerSettings
from oblixd.models.embedded.supervisor import Supervisor
from oblixd.models.embedding import FEATURE, EmbeddingCall, embed, read_openai
from oblixd.models.encoding import chat_messages, join_neighbours
from oblixd.models.hook_spec import HookSpec, derived_location
from oblixd.models.http.client import HttpClient
from oblixd.models.http.connection import Streams, with_notes
from oblixd.models.http.outbound import OutboundRoute
from oblixd.models.http.server import ServerErrors
from oblixd.models.providers import reasoning
from oblixd.models.providers.completions import CompletionDecoder
from oblixd.models.providers.llamacpp import Tokeniser, limits_of
from oblixd.models.providers.openai import completion_body
from oblixd.models.providers.provider_state import author_of
from oblixd.models.streaming import answer, object_of, read_object, text_of
from oblixd.models.tokens import TokenCountCache

_SWITCH = "enable_thinking"
"""What a template that can be told not to let the model think asks for."""
WITHOUT_LOADING = ("json_schema", "tools")
"""What may be asked of a model that is not loaded: images are for none, tools for some."""


@dataclass(frozen=True, slots=True)
class Props:
    """What a process serves."""

    context: int | None
    """Tokens of one slot, exactly."""
    features: tuple[str, ...]
    """See `Connection.features`."""


async def read(http: HttpClient) -> Props:
    """Ask the process. Raises ModelError."""
    async with await http.request("GET", "/props") as reply:
        server_errors = http.server.errors
        if reply.status != HTTPStatus.OK:
            raise server_errors.error_response(reply.status, reply.headers, await reply.excerpt())
        props = read_object(await reply.document(), server_errors)
    tools = ["tools"] if object_of(props, "chat_template_caps").get("supports_tools") is True else []
    thinks = [reasoning.FEATURE] if _SWITCH in text_of(props, "chat_template") else []
    return Props(limits_of(props).context, ("json_schema", *tools, *thinks))


EMBEDDING_CONTEXT = 2048
"""The longest text of an embedding model in tokens without `num_ctx`: it is computed in one piece."""
NOTICED_S = 1.0
"""A process that dies closes its socket first and is gone a moment later: how long to wait for that."""
_LOST = {ModelErrorKind.UNREACHABLE, ModelErrorKind.BROKEN_STREAM}


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """How embedded models are served on this machine."""

    runtime_dir: Path
    """Where its socket goes: ours, with mode 0700."""
    state_dir: Path
    """Where it is noted that the weights were checked."""
    files: Mapping[str, Path | None] = field(default_factory=lambda: {weights.DEFAULT_NAME: None})
    """The files to serve, by the models' names. None: the packaged one."""
    max_memory_bytes: int = 0
    """What all loaded models together may take. 0: half of what the machine has."""
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
    """Makes connections to embedded models, each with a process of its own, and knows their processes."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._settings = settings
        self._memory = Memory(settings.max_memory_bytes or half_of_the_machine())
        self._sockets = (settings.runtime_dir / f"w{number}.sock" for number in itertools.count())
        self._connections: weakref.WeakSet[EmbeddedConnection] = weakref.WeakSet()

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names, in the order of the configuration."""
        return tuple(self._settings.files)

    def connect(self, spec: HookSpec) -> EmbeddedConnection:
        """Make a connection. It starts nothing."""
        connection = EmbeddedConnection(spec, self._settings, self._memory, next(self._sockets))
        self._connections.add(connection)
        return connection

    async def examine(self) -> None:
        """Read the headers of the user's own files: a broken one is then known before a prompt goes there."""
        for connection in list(self._connections):
            if not connection.is_packaged:
                await connection.probe()

    def pids(self) -> list[int]:
        """List the processes that run now."""
        return [connection.pid for connection in self._connections if connection.pid is not None]


class EmbeddedConnection:
    """An embedded model, loaded on first use."""

    provider = "embedded"
    endpoint = ""

    def __init__(self, spec: HookSpec, settings: EmbeddedSettings, memory: Memory, socket_path: Path) -> None:
        self.name = spec.name
        self.location: Location = derived_location(spec)
        self._embeds = spec.embeds
        usual = min(settings.context, EMBEDDING_CONTEXT) if spec.embeds else settings.context
        self._context = spec.count("num_ctx") or usual
        self.context_window: int | None = self._context
        self.origin = ""
        self.author = author_of(self.provider, spec.name, self.origin)
        self.max_running: int | None = settings.slots
        self.features: tuple[str, ...] = (FEATURE,) if spec.embeds else ()
        self.memory_bytes = 0
        self._settings = settings
        self._memory = memory
        self._socket_path = socket_path
        self._server_errors = ServerErrors(title=spec.id, endpoint="")
        self._file = ModelFile(spec.name, settings.files, settings.state_dir)
        self._counts = TokenCountCache()
        self._tokeniser: Tokeniser | None = None
        self._streams = Streams()
        self._cache_bytes = 0
        self._supervisor = Supervisor(spec.id, self._start, memory, idle_unload_s=settings.idle_unload_s)

    @property
    def is_packaged(self) -> bool:
        """Whether its file came with Oblix."""
        return self._file.is_packaged

    @property
    def pid(self) -> int | None:
        """Its process, while one runs."""
        return self._supervisor.pid

    def outbound_route(self) -> OutboundRoute:
        """See `Connection.outbound_route`."""
        return OutboundRoute()

    @property
    def limited_s(self) -> float:
        """See `Connection.limited_s`. Nobody limits it."""
        return 0.0

    async def count_tokens(
        self, messages: Sequence[messages_pb2.Message], is_local_only: IsLocalOnly
    ) -> list[int] | None:
        """See `Connection.count_tokens`. It is not loaded for that."""
        if self.pid is None or self._tokeniser is None:
            return None
        return await self._tokeniser.count_messages(messages, Egress(self, is_local_only))

    async def count_request(self, request: ChatRequest) -> RequestTokens | None:
        """See `Connection.count_request`."""
        if self.pid is None or self._tokeniser is None:
            return None
        if encoding.has_image(request):
            return None
        return await self._tokeniser.count_request(self.body(request), Egress(self, request.is_local_only))

    @property
    def running(self) -> int:
        """See `Connection.running`."""
        return self._streams.running_count

    def status(self) -> Status:
        """See `Connection.status`."""
        status = self._supervisor.status()
        return self._file.status() if status.state is State.IDLE else status

    def keep_warm(self) -> None:
        """See `Connection.keep_warm`. Its process is on this machine, and loaded on first use."""

    async def confirm_location(self) -> None:
        """See `Connection.confirm_location`. It can be nowhere else."""

    async def probe(self) -> Status:
        """See `Connection.probe`. Its file is examined; it is not loaded for that."""
        try:
            header = await self._file.examine()
        except weights.WeightsError as error:
            return Status(State.UNAVAILABLE, str(error))
        self._fit(header)
        return self.status()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Content | Finished, None]:
        """See `Connection.stream`."""
        encoding.check(self.features or WITHOUT_LOADING, request, self._server_errors)
        if request.tool_choice is ToolChoice.REQUIRED:
            words = "can't be made to call a tool: leave the choice to it, or use another model"
            raise self._server_errors.unable(f"{self._server_errors.title} {words}.")
        with self._streams.one():
            async with self._supervisor.use() as worker:
                try:
                    encoding.check(self.features, request, self._server_errors)
                    request, note = reasoning.fit(self.features, request)
                    async with aclosing(self._answer(worker, request)) as items:
                        async for item in items:
                            yield with_notes(item, (note,)) if isinstance(item, Finished) else item
                except ModelError as error:
                    raise await self._explain(worker, error) from error

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Connection.embed`."""
        if request.dimensions is not None:
            raise self._server_errors.unable(
                f"{self._server_errors.title} can't shorten its vectors: leave dimensions out."
            )
        body = {"model": self.name, "input": list(request.texts)}
        call = EmbeddingCall("/v1/embeddings", lambda: body, read_openai)
        egress = Egress(self, request.is_local_only)
        with self._streams.one():
            async with self._supervisor.use() as worker:
                try:
                    return await embed(worker.http, call, request, egress)
                except ModelError as error:
                    raise await self._explain(worker, error) from error

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
        context = join_neighbours(chat_messages(request.messages, self.author, request.plain_messages))
        body = completion_body(self.name, request, context, limit="max_tokens")
        body["messages"] = alternate(body["messages"])
        return body | reasoning.for_template(request.options.reasoning)

    def _answer(self, worker: Worker, request: ChatRequest) -> AsyncGenerator[Content | Finished, None]:
        path, decoder = "/v1/chat/completions", CompletionDecoder(self._server_errors)
        egress = Egress(self, request.is_local_only)
        return answer(worker.http, path, lambda: self.body(request), decoder, egress, request=request)

    async def _explain(self, worker: Worker, error: ModelError) -> ModelError:
        how = await worker.wait_end(NOTICED_S) if error.kind in _LOST else ""
        return self._supervisor.note_death(how) if how else error

    async def _start(self) -> Worker:
        try:
            found, header = await self._file.check()
        except weights.WeightsError as error:
            raise self._server_errors.error(ModelErrorKind.NOT_PULLED, str(error)) from error
        self._fit(header)
        await self._memory.take(self._supervisor, self.memory_bytes)
        worker = await process.start(self._worker_settings(found), self._server_errors)
        try:
            if self._embeds:
                return worker
            props = await read(worker.http)
            tokeniser = Tokeniser(worker.http, self._counts)
            await tokeniser.learn_template(Egress(self, allow_all))
        except BaseException:
            await worker.stop()
            raise
        self.features = props.features
        self.context_window = props.context or self.context_window
        self._tokeniser = tokeniser
        return worker

    def _fit(self, header: Header) -> None:
        """Learn from the file how long a context can be, and what that takes."""
        longest = header.context_length or self._context
        self._context = min(self._context, longest)
        if self.pid is None:
            # What is free decides when it is loaded, and stays as long as it is.
            free = free_bytes(self._memory.limit_bytes)
            self._cache_bytes = 0 if self._embeds else cache_bytes(header, self._context, free)
        batch = self._context if self._embeds else BATCH
        self.memory_bytes = needs(header, self._context, self._settings.slots, self._cache_bytes, batch)
        self.context_window = min(self.context_window or self._context, self._context)

    @property
    def _pooling(self) -> Pooling | None:
        if not self._embeds:
            return None
        header = self._file.header
        return Pooling.OWN if header is not None and header.has_pooling else Pooling.MEAN

    def _worker_settings(self, weights_found: weights.Weights) -> WorkerSettings:
        return WorkerSettings(
            model=weights_found.path,
            socket_path=self._socket_path,
            context=self._context,
            slots=self._settings.slots,
            threads=self._settings.threads,
            cache_bytes=self._cache_bytes,
            temperature=weights_found.temperature,
            repeat_penalty=weights_found.repeat_penalty,
            pooling=self._pooling,
        )
