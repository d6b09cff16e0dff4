"""OpenAI's chat completions, and every other server that speaks them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

from oblix.v1 import messages_pb2

from oblixd.models.base import (
    ChatMessage,
    ChatRequest,
    Content,
    Embeddings,
    EmbedRequest,
    Finished,
    ModelError,
    ModelErrorKind,
    Options,
    State,
    Status,
)
from oblixd.models.embedding import EmbeddingCall, read_openai
from oblixd.models.encoding import arguments_of, chat_messages, function_of, in_base64, schema_of
from oblixd.models.hook_spec import HookSpec
from oblixd.models.http.adaptation import Attempt
from oblixd.models.http.connection import HttpConnection, NetworkNow
from oblixd.models.http.outbound import NetworkConfig
from oblixd.models.http.refusals import wants_responses
from oblixd.models.http.request_trace import OnExchange, unheard
from oblixd.models.http.server import TIMEOUTS, RefusalError, Server, ServerErrors, Timeouts
from oblixd.models.providers import reasoning
from oblixd.models.providers.completions import CompletionDecoder
from oblixd.models.providers.responses import ResponseDecoder, response_body
from oblixd.models.streaming import Decoder, object_of, text_of

_NOT_THERE = {ModelErrorKind.WRONG_PATH, ModelErrorKind.NOT_PULLED}
"""How a server refuses calls of /v1/responses that it does not have."""


class OpenAIConnection(HttpConnection):
    """A model of OpenAI's."""

    limit = "max_completion_tokens"
    """What this server calls the most tokens of an answer. OpenAI's newer models refuse the older name."""

    def __init__(
        self,
        spec: HookSpec,
        *,
        timeouts: Timeouts = TIMEOUTS,
        on_exchange: OnExchange = unheard,
        network: NetworkNow = NetworkConfig,
        title: str = "OpenAI",
    ) -> None:
        server_errors = ServerErrors(
            title=title,
            endpoint=spec.endpoint,
            missing_model_advice=f"Check the model's name: {spec.name} is not known there",
            api_key=spec.api_key,
        )
        headers = {"Authorization": f"Bearer {spec.api_key}"} if spec.api_key else {}
        base_url, self.prefix, self._other_prefix = _split_version(spec.endpoint)
        super().__init__(
            spec, Server(server_errors, base_url, headers, timeouts=timeouts), on_exchange, network
        )

    async def _answer(self, request: ChatRequest) -> AsyncGenerator[Content | Finished, None]:
        tried = self.prefix
        try:
            async with aclosing(super()._answer(request)) as items:
                async for item in items:
                    self._other_prefix = None
                    yield item
                return
        except ModelError as error:
            if not self._turn_to_other_path(error, tried):
                raise
            first = error
        try:
            async with aclosing(super()._answer(request)) as items:
                async for item in items:
                    yield item
        except ModelError as error:
            raise self._neither(first, error, tried) from None

    def _turn_to_other_path(self, error: ModelError, tried_path: str) -> bool:
        """Turn to the other path that the server may have, where it does not know the first one."""
        if error.kind is not ModelErrorKind.WRONG_PATH:
            return False
        if self._other_prefix is not None:
            self.prefix, self._other_prefix = self._other_prefix, None
        return tried_path != self.prefix

    def _neither(self, first: ModelError, second: ModelError, tried_path: str) -> ModelError:
        """Give the error of two paths that were tried: the first one's, where neither is known."""
        if second.kind is not ModelErrorKind.WRONG_PATH:
            return second
        other, self.prefix, self._other_prefix = self.path, tried_path, self.prefix
        first.message = f"{first.message} The paths {self.path} and {other} were tried."
        return first

    async def _embeddings(self, request: EmbedRequest) -> Embeddings:
        tried = self.prefix
        try:
            return await self._post_texts(request)
        except ModelError as error:
            if not self._turn_to_other_path(error, tried):
                raise
        return await self._post_texts(request)

    async def _post_texts(self, request: EmbedRequest) -> Embeddings:
        def write() -> dict[str, Any]:
            body = {"model": self.name, "input": list(request.texts), "encoding_format": "float"}
            return body if request.dimensions is None else {**body, "dimensions": request.dimensions}

        return await self._embed(EmbeddingCall(f"{self.prefix}/embeddings", write, read_openai), request)

    async def list_models(self) -> dict[str, Any]:
        """Read the server's list of models, by the other path where it does not know the first one."""
        tried = self.prefix
        try:
            return await self.get(f"{self.prefix}/models")
        except ModelError as error:
            if not self._turn_to_other_path(error, tried):
                raise
            first = error
        try:
            return await self.get(f"{self.prefix}/models")
        except ModelError as error:
            raise self._neither(first, error, tried) from None

    @property
    def path(self) -> str:
        """See `HttpConnection.path`."""
        return f"{self.prefix}/{'responses' if self._speaks_responses else 'chat/completions'}"

    @property
    def _speaks_responses(self) -> bool:
        return self._spec.options.api == "responses" or self._adaptation.speaks_responses

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Write the request in OpenAI's words."""
        context = chat_messages(request.messages, self.author, request.plain_messages)
        if self._speaks_responses:
            return response_body(self.name, request, context, self._server_errors)
        return completion_body(self.name, request, context, limit=self.limit) | self.thinking(request.options)

    def thinking(self, options: Options) -> dict[str, Any]:
        """Write how much the model is to think."""
        return reasoning.for_openai(options.reasoning)

    def decoder(self) -> Decoder:
        """Read the chunks of a completion, or the events of a response."""
        return (
            ResponseDecoder(self._server_errors)
            if self._speaks_responses
            else CompletionDecoder(self._server_errors)
        )

    def may_change(self, attempt: Attempt, error: RefusalError, body: dict[str, Any]) -> bool:
        """See `HttpConnection.may_change`. A model can be there for the calls of /v1/responses alone."""
        known, wants = self._adaptation, wants_responses(error.refusal)
        if wants and not self._speaks_responses and self._spec.options.api is None:
            known.speaks_responses, attempt.before = True, error
            return True
        if attempt.before is not None and (wants or error.kind in _NOT_THERE):
            known.speaks_responses = False
            raise attempt.before
        return super().may_change(attempt, error, body)

    async def ask(self) -> Status:
        """Look the model up in OpenAI's list of models."""
        listed = (await self.list_models()).get("data")
        models = listed if isinstance(listed, list) else []
        if self.name in {text_of(one, "id") for one in models if isinstance(one, dict)}:
            return Status(State.READY)
        return Status(State.UNAVAILABLE, f"OpenAI at {self.endpoint} does not list {self.name}.")


def completion_body(
    name: str, request: ChatRequest, context: Sequence[ChatMessage], *, limit: str
) -> dict[str, Any]:
    """Write a streamed chat completion. `limit` is what this server calls the most tokens of an answer."""
    options = request.options
    body = {
        "model": name,
        "messages": [message for one in context for message in _messages(one)],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": options.temperature,
        limit: options.max_tokens,
        "top_p": options.top_p,
        "seed": options.seed,
        "stop": list(options.stop) or None,
        "response_format": _format(options.response_schema),
        **_tools(request),
    }
    return {key: value for key, value in body.items() if value is not None}


def _format(schema: str) -> dict[str, Any] | None:
    if not schema:
        return None
    described = {"name": "answer", "schema": schema_of(schema), "strict": True}
    return {"type": "json_schema", "json_schema": described}


def _tools(request: ChatRequest) -> dict[str, Any]:
    # A choice without tools is refused there, and says nothing.
    if not request.tools:
        return {}
    choice = request.tool_choice.value if request.tool_choice else None
    return {"tools": [function_of(tool) for tool in request.tools], "tool_choice": choice}


def _messages(one: ChatMessage) -> Iterator[dict[str, Any]]:
    if one.is_plain:
        yield {"role": one.role, "content": one.text}
        return
    for result in one.results:
        yield {"role": "tool", "tool_call_id": result.call_id, "content": result.content}
    if not (one.text or one.images or one.calls):
        return
    message: dict[str, Any] = {**_provider_fields(one), "role": one.role, "content": _content(one)}
    if one.calls:
        message["tool_calls"] = [_call(call, object_of(one.state, "calls")) for call in one.calls]
    yield message


def _call(call: messages_pb2.ToolCallPart, extras: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": call.name, "arguments": _arguments(call)}
    return {**object_of(extras, call.call_id), "id": call.call_id, "type": "function", "function": function}


def _arguments(call: messages_pb2.ToolCallPart) -> str:
    """Give the arguments as they were written. Servers refuse a conversation with broken JSON in it."""
    arguments = arguments_of(call)
    return (
        call.arguments_json
        if call.arguments_json and "invalid_json" not in arguments
        else json.dumps(arguments)
    )


def _provider_fields(one: ChatMessage) -> dict[str, Any]:
    """Give what its server wants back with an answer.

    Reasoning goes back with calls only: DeepSeek wants it there, and its older models refuse it elsewhere.
    """
    state = one.state
    kept = dict(object_of(state, "message"))
    if state.get("reasoning_details"):
        kept["reasoning_details"] = state["reasoning_details"]
    if one.calls and one.reasoning and (name := text_of(state, "reasoning_field")):
        kept[name] = one.reasoning
    return kept


def _content(one: ChatMessage) -> str | list[dict[str, Any]]:
    if not one.images:
        return one.text
    urls = (f"data:{image.media_type};base64,{in_base64(image)}" for image in one.images)
    images: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"type": "text", "text": one.text}, *images] if one.text else images


def _split_version(endpoint: str) -> tuple[str, str, str | None]:
    """Part the server from the version of its calls, and name the other version that it may have.

    It is /v1 where no path is given: both are common. Where one is given, the server may still want /v1
    behind it. One that ends in a version, or in Azure's form, says all.
    """
    path = urlsplit(endpoint).path
    if not path:
        return endpoint, "/v1", ""
    base_url = endpoint.removesuffix("/v1")
    if base_url != endpoint:
        return base_url, "/v1", None
    is_whole = re.search(r"/v\d+\w*(/|$)|/openai(/|$)", path)
    return endpoint, "", None if is_whole else "/v1"
