"""The HTTP endpoint: routes of four APIs on one port of this machine, in front of the same executions."""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import cast

import msgspec
from aiohttp import web
from oblix.v1 import executions_pb2

from oblixd import __version__
from oblixd.access import ListenAddress, Scope, check_scope, load_certificate
from oblixd.errors import (
    FailedPreconditionError,
    NotFoundError,
    UnavailableError,
    invalid_argument,
)
from oblixd.execution import ClientInfo
from oblixd.http.body import Body, parse
from oblixd.http.catalog import Catalog
from oblixd.http.connections import ConnectionGate
from oblixd.http.conversations import Conversations
from oblixd.http.dialects.chat import ChatCompletions
from oblixd.http.dialects.embeddings import EmbeddingDialect, OllamaEmbed, OllamaEmbeddings, OpenAIEmbeddings
from oblixd.http.dialects.messages import Messages
from oblixd.http.dialects.ollama import Chat, Generate
from oblixd.http.dialects.responses import Responses
from oblixd.http.exchange import Exchange, JsonResponse, Streams, left_out_header
from oblixd.http.failures import failure_of
from oblixd.http.guard import Guard, Visitor
from oblixd.http.prompt import Dialect, put_question_last
from oblixd.http.settings import HttpServices, HttpSettings

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 32 << 20
MAX_HEADER_BYTES = 16 << 10
BODY_TIMEOUT_S = 60.0
"""A body that takes longer to arrive is given up."""
MAX_TRACE_PARENT = 128
"""Characters. W3C Trace Context writes 55."""
_OLLAMA_VERSION = "0.12.0"
"""Ollama's clients compare it with what they need of its API."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpEndpoint:
    """Serves until closed. Everything here runs in the daemon's loop."""

    def __init__(self, settings: HttpSettings, services: HttpServices) -> None:
        self._settings = settings
        self._limits = services.limits
        self._executions = services.executions
        self._names = services.names
        self._metrics = services.metrics
        self._embedding_names = services.embedding_names
        self._catalog = Catalog(services.names, services.embedding_names)
        self._conversations = Conversations(services.sessions, recognises=settings.record == "auto")
        self._streams = Streams(services.executions.execute, services.executions.model_of)
        open_paths = {"/health"} | (set(_OLLAMA_PATHS) if settings.ollama_without_token else set())
        self._guard = Guard(
            services.tokens,
            origins=settings.origins,
            open_paths=open_paths,
            # A page that rebinds its name to this machine has no certificate for it.
            any_host=bool(settings.address.certificate),
        )
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._gate: ConnectionGate | None = None
        self.port = 0
        """Where it listens, once it does."""

    async def start(self) -> None:
        """Listen. Raises FailedPreconditionError PORT_TAKEN, or where its certificate can't be used."""
        address = self._settings.address
        tls = _tls(address) if address.certificate else None
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._answer_errors])
        self._add_routes(app)
        # A handler whose client hung up is cancelled, so that the model is free at once.
        runner = web.AppRunner(
            app,
            handler_cancellation=True,
            access_log=None,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            keepalive_timeout=75.0,
            shutdown_timeout=1.0,
        )
        await runner.setup()
        self._gate = ConnectionGate(cast("web.Server", runner.server), ChatCompletions().error)
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                self._gate, address.host, address.port, reuse_address=True, ssl=tls
            )
        except OSError as error:
            await runner.cleanup()
            raise _port_taken(address, error) from error
        self._runner = runner
        self.port = self._listener.sockets[0].getsockname()[1]
        scheme = "https" if tls else "http"
        logger.info("serving HTTP on %s://%s", scheme, replace(address, port=self.port).target)

    async def close(self) -> None:
        """Listen no more, and close every connection."""
        await self._streams.close()
        if self._listener is not None:
            self._listener.close()
        if self._gate is not None:
            self._gate.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _add_routes(self, app: web.Application) -> None:
        chat, messages, responses = ChatCompletions(), Messages(), Responses()
        self._add_prompts(app, chat, "/v1/chat/completions", "/chat/completions")
        self._add_prompts(app, responses, "/v1/responses", "/responses")
        self._add_prompts(app, messages, "/v1/messages")
        self._add_prompts(app, Chat(), "/api/chat")
        self._add_prompts(app, Generate(), "/api/generate")
        self._add_embeddings(app, "/v1/embeddings", OpenAIEmbeddings(), chat)
        self._add_embeddings(app, "/embeddings", OpenAIEmbeddings(), chat)
        self._add_embeddings(app, "/api/embed", OllamaEmbed(), Chat())
        self._add_embeddings(app, "/api/embeddings", OllamaEmbeddings(), Chat())
        self._add(app, "POST", "/v1/messages/count_tokens", self._count_tokens, messages)
        self._add(app, "GET", "/v1/models", self._list_models, chat)
        self._add(app, "GET", "/v1/models/{name:.+}", self._get_model, chat)
        self._add(app, "GET", "/api/tags", self._list_tags, Chat())
        self._add(app, "POST", "/api/show", self._show, Chat())
        self._add(app, "GET", "/api/ps", self._list_running, Chat())
        self._add(app, "GET", "/api/version", self._tell_version, Chat())
        self._add(app, "GET", "/health", self._tell_health, chat)
        self._add(app, "GET", "/metrics", self._tell_metrics, chat)

    def _add_prompts(self, app: web.Application, dialect: Dialect, *paths: str) -> None:
        async def handle(request: web.Request, visitor: Visitor) -> web.StreamResponse:
            return await self._execute(dialect, request, visitor)

        for path in paths:
            self._add(app, "POST", path, handle, dialect)

    def _add_embeddings(
        self, app: web.Application, path: str, dialect: EmbeddingDialect, errors: Dialect
    ) -> None:
        async def handle(request: web.Request, visitor: Visitor) -> web.StreamResponse:
            return await self._embed(dialect, request, visitor)

        self._add(app, "POST", path, handle, errors)

    def _add(
        self,
        app: web.Application,
        method: str,
        path: str,
        handle: Callable[[web.Request, Visitor], Awaitable[web.StreamResponse]],
        dialect: Dialect,
    ) -> None:
        async def handle_guarded(request: web.Request) -> web.StreamResponse:
            try:
                visitor = self._guard.admit(request)
                if visitor.token is not None:
                    check_scope(visitor.token, Scope.EXECUTE if method == "POST" else Scope.READ, path)
                self._limits.count_call(visitor.limited_as)
                self._guard.enter(visitor)
                try:
                    return await handle(request, visitor)
                finally:
                    self._guard.leave(visitor)
            except Exception as error:  # noqa: BLE001 - every failure becomes an answer in the API's form
                return _error_response(dialect, error)

        app.router.add_route(method, path, handle_guarded)

    async def _execute(self, dialect: Dialect, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        prompt = dialect.prompt(await _body(request))
        put_question_last(prompt.request)
        self._names.apply(prompt.model, prompt.request)
        prompt.request.local_only |= visitor.local_only
        await self._conversations.attach(prompt, visitor.owner, request.headers.get("x-oblix-session", ""))

        async def answered(completion: executions_pb2.ExecutionCompleted) -> None:
            await self._conversations.answered(prompt, completion, visitor.owner)

        exchange = Exchange(request, dialect, prompt, _caller(visitor, request), answered)
        if prompt.side is not None:
            exchange.headers["x-oblix-side-request"] = prompt.side
        with self._limits.execution(visitor.limited_as):
            return await self._streams.answer(exchange)

    async def _embed(
        self, dialect: EmbeddingDialect, request: web.Request, visitor: Visitor
    ) -> web.StreamResponse:
        texts = dialect.texts(await _body(request))
        self._embedding_names.apply(texts.model, texts.request)
        texts.request.local_only |= visitor.local_only
        with self._limits.execution(visitor.limited_as):
            found = await self._executions.embed(texts.request, _caller(visitor, request))
        headers = {
            "x-oblix-model": found.hook.id,
            "x-oblix-rule": found.decision.rule,
            "x-oblix-policy": found.decision.policy,
            **left_out_header(texts.ignored_fields),
        }
        # Millions of numbers take a moment: meanwhile others are answered.
        body = await asyncio.to_thread(lambda: msgspec.json.encode(dialect.answer(texts, found)))
        return JsonResponse(body, headers=headers)

    async def _count_tokens(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        prompt = Messages().prompt(await _body(request))
        put_question_last(prompt.request)
        self._names.apply(prompt.model, prompt.request)
        prompt.request.local_only |= visitor.local_only
        return JsonResponse({"input_tokens": await self._executions.count_tokens(prompt.request)})

    async def _list_models(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        return JsonResponse(self._catalog.openai())

    async def _get_model(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        return JsonResponse(self._catalog.entry(request.match_info["name"]))

    async def _list_tags(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        return JsonResponse(self._catalog.tags())

    async def _show(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        body = await _body(request)
        return JsonResponse(self._catalog.show(body.text("model") or body.required_text("name")))

    async def _list_running(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        return JsonResponse(self._catalog.loaded_models())

    async def _tell_version(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        return JsonResponse({"version": _OLLAMA_VERSION})

    async def _tell_health(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        return JsonResponse({"status": "ok", "version": __version__})

    async def _tell_metrics(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        # https://prometheus.io/docs/instrumenting/exposition_formats
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self._metrics().encode(), headers=headers)

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer what no route takes, and let the pages that may call do so."""
        if self._gate is not None:
            self._gate.note_request(request.protocol)
        origin = request.headers.get("Origin", "")
        allowed = origin in self._guard.origins
        if request.method == "OPTIONS" and allowed:
            return web.Response(headers=_cors(origin))
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = _error_response(_dialect_of(request.path), _http_error(request, error))
        if allowed and not response.prepared:
            response.headers.update(_cors(origin))
        return response


_OLLAMA_PATHS = (
    "/api/chat",
    "/api/generate",
    "/api/tags",
    "/api/show",
    "/api/ps",
    "/api/embed",
    "/api/embeddings",
    "/api/version",
)


def _caller(visitor: Visitor, request: web.Request) -> ClientInfo:
    span = request.headers.get("traceparent", "")[:MAX_TRACE_PARENT]
    return ClientInfo(f"http:{visitor.name}", visitor.name or "http", span)


async def _body(request: web.Request) -> Body:
    """Read the body, within the limits. Raises InvalidArgumentError."""
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            # Not `request.read()`: it keeps the body, and aiohttp keeps the request until the next one.
            while piece := await request.content.readany():
                data += piece
                if len(data) > MAX_BODY_BYTES:
                    message = f"The body has more than {MAX_BODY_BYTES >> 20} MiB: send less."
                    raise invalid_argument("BODY_TOO_LARGE", message, field="body", limit=MAX_BODY_BYTES)
    except TimeoutError:
        message = f"The body did not arrive within {BODY_TIMEOUT_S:.0f} s: send the request again."
        raise UnavailableError("BODY_LATE", message) from None
    return parse(data)


def _error_response(dialect: Dialect, error: Exception) -> web.Response:
    failure = failure_of(error).in_words_of(dialect.fields)
    if failure.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("an HTTP request failed", exc_info=error)
    return JsonResponse(dialect.error(failure), status=failure.status, headers=failure.headers)


def _dialect_of(path: str) -> Dialect:
    if path.startswith("/api/"):
        return Chat()
    return Messages() if path.startswith("/v1/messages") else ChatCompletions()


def _http_error(request: web.Request, error: web.HTTPException) -> Exception:
    path = request.path[:80]
    if error.status == HTTPStatus.NOT_FOUND:
        message = f"There is nothing at {path}: the endpoint's paths begin with /v1/ or /api/."
        return NotFoundError("PATH_UNKNOWN", message, path=path)
    message = f"{path} takes another method than {request.method}."
    return invalid_argument("METHOD_REFUSED", message, field="method", given=request.method)


def _cors(origin: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Headers": "*, Authorization",
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Expose-Headers": "*",
        "Vary": "Origin",
    }


def _tls(address: ListenAddress) -> ssl.SSLContext:
    """Make what encrypts the connections. Raises FailedPreconditionError for files that can't be used."""
    load_certificate(address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(address.certificate, address.key or None)
    context.set_alpn_protocols(["http/1.1"])
    if address.client_ca:
        context.load_verify_locations(address.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _port_taken(address: ListenAddress, error: OSError) -> FailedPreconditionError:
    what = "somebody else holds it" if error.errno == errno.EADDRINUSE else (error.strerror or str(error))
    message = (
        f"The HTTP endpoint can't listen on {address.target}: {what}. "
        "Nothing is sent to whoever listens there. End that program, or set another [http] port."
    )
    return FailedPreconditionError("PORT_TAKEN", message, port=address.port)
