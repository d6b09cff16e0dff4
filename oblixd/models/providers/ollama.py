"""Ollama: /api/chat as it streams, with the context and the time in memory that the hook fixed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

import msgspec

from oblixd.models import encoding
from oblixd.models.base import (
    ChatMessage,
    ChatRequest,
    Content,
    ContentKind,
    Embeddings,
    EmbedRequest,
    Finish,
    Finished,
    Location,
    State,
    Status,
    ToolChoice,
)
from oblixd.models.embedding import FEATURE, EmbeddingCall, read_ollama
from oblixd.models.encoding import (
    arguments_of,
    chat_messages,
    function_of,
    in_base64,
    schema_of,
    tool_names,
    tools_of,
)
from oblixd.models.hook_spec import HookSpec, derived_location
from oblixd.models.http.client import HttpClient
from oblixd.models.http.connection import HttpConnection, NetworkNow
from oblixd.models.http.event_stream import EventSplitter, PlainEvent, PlainEvents
from oblixd.models.http.outbound import NetworkConfig
from oblixd.models.http.request_trace import OnExchange, unheard
from oblixd.models.http.server import PROBE_TIMEOUTS, TIMEOUTS, Server, ServerErrors, Timeouts
from oblixd.models.options import keep_alive_seconds, wire_keep_alive
from oblixd.models.providers import reasoning
from oblixd.models.providers.finish_reasons import FinishReasons
from oblixd.models.providers.ollama_status import Facts, Loaded, OllamaSettings, Residence
from oblixd.models.providers.provider_state import dump_state
from oblixd.models.providers.token_usage import UsageReader
from oblixd.models.streaming import (
    Decoder,
    Piece,
    ToolCallAssembler,
    arguments_text,
    flat,
    object_of,
    read_object,
    text_of,
)

SETTINGS = OllamaSettings()


class OllamaConnection(HttpConnection):
    """A model of an Ollama server.

    Every request names the same `num_ctx` and `keep_alive`: the server loads a model
    anew when they change, and its own defaults change by machine and version.
    """

    path = "/api/chat"

    def __init__(
        self,
        spec: HookSpec,
        settings: OllamaSettings = SETTINGS,
        *,
        timeouts: Timeouts = TIMEOUTS,
        on_exchange: OnExchange = unheard,
        network: NetworkNow = NetworkConfig,
    ) -> None:
        headers = {"Authorization": f"Bearer {spec.api_key}"} if spec.api_key else {}
        super().__init__(
            spec,
            Server(server_errors_of(spec), spec.endpoint, headers, timeouts=timeouts),
            on_exchange,
            network,
        )
        self._keep_alive = spec.options.keep_alive or settings.keep_alive
        self._residence = Residence(keep_alive_seconds(self._keep_alive))
        self._facts: Facts | None = None
        self._requested_ctx = spec.count("num_ctx") or spec.count("context_window")
        self._num_ctx = self._requested_ctx or settings.num_ctx
        self.context_window = _minimum(spec.count("context_window"), self._num_ctx)
        self._parallel = settings.parallel
        self.max_running = spec.count("max_running") or self._parallel

    def status(self) -> Status:
        """See `Connection.status`."""
        status, residence = super().status(), self._residence
        if self._facts is not None and self._facts.is_hosted:
            return status
        if residence.state is State.LOADING:
            return Status(State.LOADING)
        if status.state is State.READY and residence.state is State.IDLE:
            return Status(State.IDLE, residence.note)
        return status

    async def probe(self) -> Status:
        """See `Connection.probe`. The model is not loaded for that."""
        status = await super().probe()
        return self.status() if status.state is State.READY else status

    async def confirm_location(self) -> None:
        """See `Connection.confirm_location`.

        A local name may stand for a model in Ollama's cloud, and `ollama cp` or `ollama pull` can make it so
        at any time: what was heard before counts for nothing.
        """
        await self._learn(self._http)

    async def ask(self) -> Status:
        """Ask whether the model is pulled, and whether it is loaded."""
        await self._learn(self._http, PROBE_TIMEOUTS)
        loaded = Loaded.read(await self.get("/api/ps"), self.name)
        self._residence.told(loaded, self._context_length)
        if loaded is not None:
            self.memory_bytes = loaded.memory_bytes
        return Status(State.READY)

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Write the request in Ollama's words. Raises ModelError where it can't do what is asked."""
        encoding.check(self.features, request, self._server_errors)
        if request.tool_choice is ToolChoice.REQUIRED:
            message = "Ollama can't make a model call a tool: leave the choice to it, or use another model."
            raise self._server_errors.unable(message)
        body: dict[str, Any] = {
            "model": self.name,
            "messages": _messages(chat_messages(request.messages, self.author, request.plain_messages)),
            "stream": True,
            "keep_alive": wire_keep_alive(self._keep_alive),
            # What does not fit is an error: left alone, the server drops the oldest without a word.
            "truncate": False,
            "shift": False,
            "options": self._options(request),
            **reasoning.for_ollama(request.options.reasoning, self.name),
        }
        if tools := tools_of(request):
            body["tools"] = [function_of(tool) for tool in tools]
        if request.options.response_schema:
            body["format"] = schema_of(request.options.response_schema)
        return body

    def decoder(self) -> Decoder:
        """Read /api/chat's lines."""
        return OllamaDecoder(self._server_errors)

    async def _embeddings(self, request: EmbedRequest) -> Embeddings:
        def write() -> dict[str, Any]:
            body = {
                "model": self.name,
                "input": list(request.texts),
                "keep_alive": wire_keep_alive(self._keep_alive),
                "truncate": False,
                "options": {"num_ctx": self._num_ctx},
            }
            return body if request.dimensions is None else {**body, "dimensions": request.dimensions}

        spoke = False
        self._residence.asked()
        try:
            found = await self._embed(EmbeddingCall("/api/embed", write, read_ollama), request)
            self._residence.spoke()
            spoke = True
            return found
        finally:
            self._residence.ended(spoke=spoke)

    async def _answer(self, request: ChatRequest) -> AsyncGenerator[Content | Finished, None]:
        if encoding.needs_features(request) and self._facts is None:
            await self._learn(self._http)
        # Before a local-only answer the server is asked the same, so nothing is left to learn.
        learn = self._learn if self._facts is None and not request.is_local_only() else None
        spoke = False
        self._residence.asked()
        try:
            async with self._learn_beside(learn), aclosing(super()._answer(request)) as items:
                async for item in items:
                    if not spoke:
                        self._residence.spoke()
                        spoke = True
                    yield item
        finally:
            self._residence.ended(spoke=spoke)

    async def _learn(self, http: HttpClient, timeouts: Timeouts | None = None) -> None:
        async with await http.request("POST", "/api/show", {"model": self.name}, timeouts) as reply:
            if reply.status != HTTPStatus.OK:
                raise self._server_errors.error_response(reply.status, reply.headers, await reply.excerpt())
            facts = Facts.read(read_object(await reply.document(), self._server_errors))
        # A copy of a hosted model under a local name answers from Ollama's cloud all the same.
        is_elsewhere = facts.is_hosted and self._spec.location is None
        self.location = Location.CLOUD if is_elsewhere else derived_location(self._spec)
        self.features = (FEATURE,) if self._spec.embeds else facts.features
        self.context_window = self._window(facts)
        streams = self._spec.count("max_running")
        self.max_running = streams if facts.is_hosted else streams or self._parallel
        self._facts = facts

    @property
    def _context_length(self) -> int:
        """What the server makes of `num_ctx`: at most what the model was trained for."""
        longest = self._facts.context_length if self._facts else None
        return min(self._num_ctx, longest or self._num_ctx)

    def _window(self, facts: Facts) -> int | None:
        # A hosted model has its whole context. Of one here it is what is sent, as far as the model goes.
        used = self._requested_ctx if facts.is_hosted else self._num_ctx
        return _minimum(self._spec.count("context_window"), used, facts.context_length)

    def _options(self, request: ChatRequest) -> dict[str, Any]:
        options = {
            "num_ctx": self._num_ctx,
            "temperature": request.options.temperature,
            "num_predict": request.options.max_tokens,
            "top_p": request.options.top_p,
            "seed": request.options.seed,
            "stop": list(request.options.stop) or None,
        }
        return {key: value for key, value in options.items() if value is not None}


def server_errors_of(spec: HookSpec) -> ServerErrors:
    """Describe a model's server for the sentences about it."""
    return ServerErrors(
        title="Ollama",
        endpoint=spec.endpoint,
        start="start it with `ollama serve`",
        missing_model_advice=(
            f"The model is not pulled: run `ollama pull {spec.name}` or `oblix models pull {spec.id}`"
        ),
        api_key=spec.api_key,
    )


class _PlainMessage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str
    role: str | None = None
    thinking: str | None = None
    images: None = None
    tool_calls: None = None


class _PlainLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A line that is a piece of text or of reasoning, as nearly all of a long answer are."""

    message: _PlainMessage
    done: bool
    model: str | None = None
    created_at: str | None = None
    remote_model: str | None = None
    remote_host: str | None = None


def _plain_texts(lines: list[_PlainLine]) -> list[str]:
    return [line.message.content for line in lines if not (line.done or line.message.thinking)]


def _plain_thoughts(lines: list[_PlainLine]) -> list[str]:
    return [line.message.thinking or "" for line in lines if not (line.done or line.message.content)]


_PLAIN = PlainEvents(
    (ContentKind.TEXT, PlainEvent(_PlainLine, _plain_texts)),
    (ContentKind.REASONING, PlainEvent(_PlainLine, _plain_thoughts)),
)


class OllamaDecoder:
    """Reads JSON objects, one a line, the last of which says `done`. Without streaming there is one."""

    def __init__(self, server_errors: ServerErrors) -> None:
        self.complete = False
        self._server_errors = server_errors
        self._events = EventSplitter(of_lines=True)
        self._reasons = FinishReasons(server_errors)
        self._calls = ToolCallAssembler(server_errors)
        self._usage = UsageReader()
        self._thinks = False

    @property
    def is_stopped(self) -> bool:
        """See `Decoder.is_stopped`."""
        return self.complete

    def pieces(self, read: bytes) -> Iterator[Piece]:
        """See `Decoder.pieces`."""
        for kind, data in _PLAIN.parts(self._events.feed(read) if read else self._events.rest()):
            if self.complete:
                return
            if isinstance(data, str):
                self._thinks = self._thinks or kind is ContentKind.REASONING
                yield kind, data
            else:
                yield from self._line(read_object(data, self._server_errors))

    def finish(self) -> Finished:
        """See `Decoder.finish`."""
        self._calls.check()
        reason = self._calls.why(self._reasons.finish or Finish.STOP)
        return Finished(reason, self._usage.counts(), dump_state({"thinks": True} if self._thinks else {}))

    def _line(self, line: dict[str, Any]) -> Iterator[Piece]:
        if line.get("error"):
            raise self._server_errors.error_event(line)
        message = object_of(line, "message")
        if thinking := flat(message.get("thinking")):
            self._thinks = True
            yield ContentKind.REASONING, thinking
        if content := flat(message.get("content")) or text_of(line, "response"):
            yield ContentKind.TEXT, content
        if isinstance(calls := message.get("tool_calls"), list):
            yield from self._take_calls([call for call in calls if isinstance(call, dict)])
        self._usage.take(line)
        if line.get("done") is True:
            self._reasons.take(line.get("done_reason"))
            self.complete = True

    def _take_calls(self, calls: Sequence[dict[str, Any]]) -> Iterator[Piece]:
        # Calls come whole, the arguments as an object, and only from newer servers with an id.
        for whole in calls:
            function = object_of(whole, "function")
            arguments = function.get("arguments")
            text = "{}" if arguments is None else arguments_text(arguments)
            place, name = len(self._calls), text_of(function, "name")
            yield from self._calls.take(place, text_of(whole, "id"), name, text)
        yield from self._calls.rest()


def _messages(context: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    names = tool_names(context)
    return [message for one in context for message in _message(one, names)]


def _message(one: ChatMessage, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    for result in one.results:
        yield {
            "role": "tool",
            "content": result.content,
            "tool_name": names.get(result.call_id, result.call_id),
        }
    if not (one.text or one.images or one.calls):
        return
    message: dict[str, Any] = {"role": one.role, "content": one.text}
    if one.images:
        message["images"] = [in_base64(image) for image in one.images]
    if one.calls:
        if one.reasoning and one.state.get("thinks"):
            message["thinking"] = one.reasoning
        message["tool_calls"] = [
            {"function": {"name": call.name, "arguments": arguments_of(call)}} for call in one.calls
        ]
    yield message


def _minimum(*counts: int | None) -> int | None:
    return min((count for count in counts if count is not None), default=None)
