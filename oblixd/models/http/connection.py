"""What the connections over HTTP share: they count, remember and probe alike."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

from oblix.v1 import messages_pb2

from oblixd.models.base import (
    ChatRequest,
    Content,
    Embeddings,
    EmbedRequest,
    Finished,
    Location,
    ModelError,
    RequestTokens,
    State,
    Status,
    ToolChoice,
    UnableError,
)
from oblixd.models.egress import Egress, IsLocalOnly
from oblixd.models.embedding import FEATURE, EmbeddingCall, embed
from oblixd.models.endpoints import is_loopback, origin_of
from oblixd.models.hook_spec import HookSpec, derived_location
from oblixd.models.http.adaptation import Adaptation, Attempt
from oblixd.models.http.client import HttpClient
from oblixd.models.http.outbound import NetworkConfig, OutboundRoute, outbound_route_of
from oblixd.models.http.request_trace import OnExchange, unheard
from oblixd.models.http.server import PROBE_TIMEOUTS, RefusalError, Server, Works, timeouts_of
from oblixd.models.options import secrets_of
from oblixd.models.providers import reasoning
from oblixd.models.providers.provider_state import author_of
from oblixd.models.streaming import Decoder, answer, read_object

MOST_FORMS = 8
"""Forms of one request that are sent at most, each with one thing changed that the server refused."""

_READY = Status(State.READY)
NetworkNow = Callable[[], NetworkConfig]
"""Gives what the configuration says of the network at this moment."""
Learn = Callable[[HttpClient], Awaitable[None]]
"""Asks a server about its model."""


class HttpConnection(ABC):
    """A model behind an HTTP server. A provider writes requests and reads answers in its own format."""

    def __init__(
        self,
        spec: HookSpec,
        server: Server,
        on_exchange: OnExchange = unheard,
        network: NetworkNow = NetworkConfig,
    ) -> None:
        self.provider = spec.provider
        self.name = spec.name
        self.endpoint = spec.endpoint
        self.location: Location = derived_location(spec)
        self.context_window: int | None = spec.count("context_window")
        self.origin = origin_of(spec.endpoint)
        self.max_running: int | None = spec.count("max_running")
        self.author = author_of(spec.provider, spec.name, self.origin)
        self.features: tuple[str, ...] = (FEATURE,) if spec.embeds else ()
        self.memory_bytes = 0
        self._spec = spec
        server = adjust(server, spec, network)
        self._server_errors = server.errors
        self._http = HttpClient(server, on_exchange)
        self._status = Status()
        self._streams = Streams()
        self._adaptation = Adaptation()

    def learn_of(self, *, works: Works | None = None, adaptation: Adaptation | None = None) -> None:
        """Take what the rest of the daemon knows. `works`: asked of a server on this machine."""
        self._adaptation = adaptation or self._adaptation
        if self._is_here:
            self._http.server = replace(self._http.server, works=works)

    @property
    def _is_here(self) -> bool:
        return self.location is Location.LOCAL and is_loopback(self.endpoint)

    @property
    @abstractmethod
    def path(self) -> str:
        """Where requests are posted."""

    @abstractmethod
    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Write a request. Raises ModelError where the provider can't do what is asked."""

    @abstractmethod
    def decoder(self) -> Decoder:
        """Make a reader for one answer."""

    @abstractmethod
    async def ask(self) -> Status:
        """Ask the server whether it can answer. Raises ModelError."""

    @property
    def limited_s(self) -> float:
        """See `Connection.limited_s`."""
        return self._http.allowance.left_s

    async def count_tokens(
        self, messages: Sequence[messages_pb2.Message], is_local_only: IsLocalOnly
    ) -> list[int] | None:
        """See `Connection.count_tokens`."""
        return None

    async def count_request(self, request: ChatRequest) -> RequestTokens | None:
        """See `Connection.count_request`."""
        return None

    @property
    def running(self) -> int:
        """See `Connection.running`."""
        return self._streams.running_count

    def status(self) -> Status:
        """See `Connection.status`."""
        return self._status

    def outbound_route(self) -> OutboundRoute:
        """See `Connection.outbound_route`."""
        return self._http.server.outbound_route()

    async def confirm_location(self) -> None:  # noqa: B027 - the endpoint says it all, but for Ollama
        """See `Connection.confirm_location`."""

    async def probe(self) -> Status:
        """See `Connection.probe`."""
        try:
            status = await self.ask()
        except ModelError as error:
            status = Status(State.UNAVAILABLE, error.message)
        self._status = status if status.state is State.READY else _last_try(status.reason)
        return status

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Content | Finished, None]:
        """See `Connection.stream`."""
        with self._streams.one():
            try:
                async with aclosing(self._answer(request)) as items:
                    async for item in items:
                        self._status = _READY
                        yield item
            except UnableError:
                # The server was not asked: this says nothing of it.
                raise
            except ModelError as error:
                self._status = _last_try(error.message)
                raise

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Connection.embed`."""
        with self._streams.one():
            try:
                result = await self._embeddings(request)
            except UnableError:
                raise
            except ModelError as error:
                self._status = _last_try(error.message)
                raise
            self._status = _READY
            return result

    def keep_warm(self) -> None:
        """See `Connection.keep_warm`. Over loopback there is nothing to gain."""
        if not self._is_here:
            self._http.keep_warm()

    async def retire(self) -> None:
        """See `Connection.retire`."""
        await self._streams.none()
        await self.close()

    async def break_off(self) -> None:
        """See `Connection.break_off`."""
        await self._http.break_off()

    async def close(self) -> None:
        """See `Connection.close`."""
        await self._http.close()

    async def get(self, path: str, http: HttpClient | None = None) -> dict[str, Any]:
        """Read a small JSON object of the server's. `http`: over another client. Raises ModelError."""
        async with await (http or self._http).request("GET", path, timeouts=PROBE_TIMEOUTS) as reply:
            if reply.status != HTTPStatus.OK:
                url = self._http.server.base_url + path
                raise self._server_errors.error_response(
                    reply.status, reply.headers, await reply.excerpt(), url
                )
            return read_object(await reply.document(), self._server_errors)

    @asynccontextmanager
    async def _learn_beside(self, learn: Learn | None) -> AsyncIterator[None]:
        """Learn of the model beside an answer; None: nothing is left to learn.

        It takes a connection of its own, so no prompt waits for it or loses its connection. It ends with the
        answer at the latest.
        """
        if learn is None:
            yield
            return
        learning = asyncio.create_task(self._learn_aside(learn))
        try:
            yield
        finally:
            learning.cancel()
            await asyncio.wait([learning])

    async def _learn_aside(self, learn: Learn) -> None:
        http = HttpClient(self._http.server)
        try:
            with suppress(ModelError):  # what is wrong with the server, the prompt itself shows
                await learn(http)
        finally:
            await http.close()

    async def _embeddings(self, request: EmbedRequest) -> Embeddings:
        """Send texts and read their vectors. A provider that has such a call overrides this."""
        raise self._server_errors.unable(
            f"{self._server_errors.title} has no embeddings: use another provider."
        )

    async def _embed(self, call: EmbeddingCall, request: EmbedRequest) -> Embeddings:
        """Post texts in the provider's words, with the fields that the model's options add and leave out."""
        written = replace(call, write=lambda: self._with_options({**(call.write() or {})}))
        return await embed(self._http, written, request, Egress(self, request.is_local_only))

    async def _answer(self, request: ChatRequest) -> AsyncGenerator[Content | Finished, None]:
        """Send the request, and once more for each thing that the server refuses and that may be changed."""
        request, note = reasoning.fit(self.features, request)
        attempt = self._adaptation.attempt()
        for left in reversed(range(MOST_FORMS)):
            write = partial(self._adapted_body, request, attempt)
            spoke = calls = False
            egress = Egress(self, request.is_local_only)
            try:
                streaming = answer(self._http, self.path, write, self.decoder(), egress, request=request)
                async with aclosing(streaming) as items:
                    async for item in items:
                        spoke = True
                        calls = calls or (isinstance(item, Content) and item.call is not None)
                        if isinstance(item, Finished):
                            notes = (note, *attempt.notes, _ignored_tool_choice(request, calls=calls))
                            item = with_notes(item, notes)  # noqa: PLW2901
                        yield item
            except RefusalError as error:
                if spoke or not left or not self.may_change(attempt, error, write()):
                    raise
            else:
                return

    def _adapted_body(self, request: ChatRequest, attempt: Attempt) -> dict[str, Any]:
        return attempt.apply(self._body(request))

    def may_change(self, attempt: Attempt, error: RefusalError, body: dict[str, Any]) -> bool:
        """Hear how the server refused a request. True: it is to be sent again. May raise a better error."""
        return attempt.learn(error.refusal, body)

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        """Write a request, with the fields that the model's options add and leave out."""
        return self._with_options(self.body(request))

    def _with_options(self, body: dict[str, Any]) -> dict[str, Any]:
        options = self._spec.options
        body = {**body, **options.extra_body}
        return {key: value for key, value in body.items() if key not in options.omit}


class _CurrentRoute:
    """How a model's server is reached now. It is worked out anew only where the configuration changed."""

    def __init__(self, spec: HookSpec, network: NetworkNow, *, is_local: bool) -> None:
        self._spec = spec
        self._network = network
        self._is_local = is_local
        self._last: tuple[NetworkConfig, OutboundRoute] | None = None

    def __call__(self) -> OutboundRoute:
        network = self._network()
        if self._last is None or self._last[0] != network:
            spec = self._spec
            route = outbound_route_of(spec.endpoint, spec.options, network, is_local=self._is_local)
            self._last = network, route
        return self._last[1]


def adjust(server: Server, spec: HookSpec, network: NetworkNow = NetworkConfig) -> Server:
    """Apply what the model's options and the configuration say of its server."""
    options, is_local = spec.options, derived_location(spec) is Location.LOCAL
    is_here = is_local and is_loopback(spec.endpoint)
    headers = {**server.headers, **options.headers}
    if options.key_header and spec.api_key:
        headers = {name: value for name, value in headers.items() if spec.api_key not in value}
        headers[options.key_header] = spec.api_key
    return replace(
        server,
        headers=headers,
        query=options.query,
        timeouts=timeouts_of(options, server.timeouts, is_here=is_here),
        outbound_route=_CurrentRoute(spec, network, is_local=is_local),
        errors=replace(server.errors, secrets=secrets_of(options)),
    )


def with_notes(finished: Finished, notes: Iterable[str]) -> Finished:
    """Add what was changed of the request to the terminal signal."""
    told = tuple(filter(None, notes))
    return replace(finished, adaptations=told) if told else finished


def _ignored_tool_choice(request: ChatRequest, *, calls: bool) -> str:
    """Say that a server took `tool_choice`, and let the model answer without a call all the same."""
    wanted = request.tool_choice is ToolChoice.REQUIRED and not calls
    return "`tool_choice` was passed over: the server let the model answer without a call" if wanted else ""


def _last_try(reason: str) -> Status:
    # The server may be back with the next prompt: only that can tell.
    return Status(State.UNKNOWN, reason)


class Streams:
    """Counts the streams of a connection, so that it can go when none is left."""

    def __init__(self) -> None:
        self.running_count = 0
        self._none = asyncio.Event()
        self._none.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one stream for as long as the block lasts."""
        self.running_count += 1
        self._none.clear()
        try:
            yield
        finally:
            self.running_count -= 1
            if not self.running_count:
                self._none.set()

    async def none(self) -> None:
        """Return once no stream runs."""
        await self._none.wait()
