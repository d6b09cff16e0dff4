"""Anthropic's messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import groupby
from typing import Any
from urllib.parse import quote

from oblixd.models.base import (
    ChatMessage,
    ChatRequest,
    Content,
    Finished,
    ModelError,
    ModelErrorKind,
    Options,
    State,
    Status,
    Tool,
    ToolChoice,
)
from oblixd.models.encoding import (
    arguments_of,
    chat_messages,
    in_base64,
    join_neighbours,
    parameters_of,
    schema_of,
)
from oblixd.models.hook_spec import HookSpec
from oblixd.models.http.client import HttpClient
from oblixd.models.http.connection import HttpConnection, NetworkNow
from oblixd.models.http.outbound import NetworkConfig
from oblixd.models.http.request_trace import OnExchange, unheard
from oblixd.models.http.server import TIMEOUTS, Server, ServerErrors, Timeouts
from oblixd.models.providers import reasoning
from oblixd.models.providers.claude_messages import MessageDecoder
from oblixd.models.providers.provider_state import thoughts_of
from oblixd.models.providers.token_usage import count_of
from oblixd.models.streaming import Decoder

API_VERSION = "2023-06-01"
"""The newer 2026-10-21 refuses a temperature, which our callers may ask for; nothing else differs for us."""
MAX_TOKENS = 32_000
"""Claude wants a limit with every request: sent where the caller gave none and the model's is not known.

A model that writes less says so in its refusal, and the request is sent again with what it writes.
"""
_NO_SUCH_PAGE = {ModelErrorKind.NOT_PULLED, ModelErrorKind.WRONG_PATH, ModelErrorKind.REFUSED}
_MOST_REFUSALS = 3
"""Gateways without the page also redirect to a login, forbid it or send a page of the web, each time anew."""
_OPENING = "(The conversation begins.)"
_CHOICES = {ToolChoice.AUTO: "auto", ToolChoice.REQUIRED: "any", ToolChoice.NONE: "none"}


class ClaudeConnection(HttpConnection):
    """A model of Anthropic's."""

    path = "/v1/messages"

    def __init__(
        self,
        spec: HookSpec,
        *,
        timeouts: Timeouts = TIMEOUTS,
        on_exchange: OnExchange = unheard,
        network: NetworkNow = NetworkConfig,
    ) -> None:
        server_errors = ServerErrors(
            title="Claude",
            endpoint=spec.endpoint,
            missing_model_advice=f"Check the model's name: {spec.name} is not known there",
            api_key=spec.api_key,
        )
        headers = {"anthropic-version": API_VERSION, "x-api-key": spec.api_key}
        super().__init__(
            spec,
            Server(server_errors, spec.endpoint.removesuffix("/v1"), headers, timeouts=timeouts),
            on_exchange,
            network,
        )
        self._longest: int | None = None
        """The longest answer that the model writes, in tokens. None while it is not known."""
        self._is_asked = False
        self._refusals = 0
        """How often the model's page was asked for in vain, beside answers."""

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Write the request in Claude's words. Raises ModelError where a seed is asked for: there is none."""
        if request.options.seed is not None:
            message = "Claude knows no seed: leave it out, or use another model."
            raise self._server_errors.unable(message)
        context = chat_messages(request.messages, self.author, request.plain_messages)
        system = "\n\n".join(one.text for one in context if one.role == "system")
        body = {
            "model": self.name,
            "messages": _messages([one for one in context if one.role != "system"]),
            "system": system or None,
            "stream": True,
            **_options(request.options, self._longest or MAX_TOKENS),
            **_tools(request),
        }
        return {key: value for key, value in body.items() if value is not None}

    def decoder(self) -> Decoder:
        """Read the events of a message."""
        return MessageDecoder(self._server_errors)

    async def ask(self) -> Status:
        """Look the model up by its name."""
        self._learn(await self.get(self._about))
        return Status(State.READY)

    @property
    def _about(self) -> str:
        return f"/v1/models/{quote(self.name, safe='')}"

    def _learn(self, info: Mapping[str, Any]) -> None:
        """Take the model's limits. Older servers and gateways do not tell them."""
        self._longest = count_of(info, "max_tokens") or self._longest
        told = count_of(info, "max_input_tokens") or None
        self.context_window = self._spec.count("context_window") or told or self.context_window

    async def _answer(self, request: ChatRequest) -> AsyncGenerator[Content | Finished, None]:
        learn = self._learn_limits if self._longest is None and not self._is_asked else None
        async with self._learn_beside(learn), aclosing(super()._answer(request)) as items:
            async for item in items:
                yield item

    async def _learn_limits(self, http: HttpClient) -> None:
        try:
            self._learn(await self.get(self._about, http))
            self._is_asked = True
        except ModelError as error:  # many gateways have messages only, and no page about a model
            self._refusals += 1
            self._is_asked = error.kind in _NO_SUCH_PAGE or self._refusals >= _MOST_REFUSALS
            raise


def _options(options: Options, longest: int) -> dict[str, Any]:
    thinking = reasoning.for_claude(options.reasoning)
    output = {**_format(options.response_schema), **thinking.pop("output_config", {})}
    return {
        "max_tokens": options.max_tokens or longest,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "stop_sequences": list(options.stop) or None,
        "output_config": output or None,
        **thinking,
    }


def _format(schema: str) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "schema": schema_of(schema)}} if schema else {}


def _tools(request: ChatRequest) -> dict[str, Any]:
    # A choice without tools is refused there, and says nothing.
    if not request.tools:
        return {}
    choice = {"type": _CHOICES[request.tool_choice]} if request.tool_choice else None
    return {"tools": [_tool(tool) for tool in request.tools], "tool_choice": choice}


def _tool(tool: Tool) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "input_schema": parameters_of(tool)}


def _messages(context: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    # Claude takes tool results from the user, strict turns, and the user's first.
    turns = [("user" if one.role == "tool" else one.role, one) for one in context]
    if turns and turns[0][0] != "user":
        turns.insert(0, ("user", ChatMessage("user", _OPENING)))
    neighbours = [(role, [one for _, one in run]) for role, run in groupby(turns, key=lambda turn: turn[0])]
    return [{"role": role, "content": list(_content(run))} for role, run in neighbours]


def _content(run: Sequence[ChatMessage]) -> Iterator[dict[str, Any]]:
    """Write neighbours of one role as one message. Results stand first, as Claude wants them."""
    for result in (result for one in run for result in one.results):
        yield {
            "type": "tool_result",
            "tool_use_id": result.call_id,
            "content": result.content,
            "is_error": result.is_error,
        }
    # Thinking must stay where it was; otherwise neighbours are one text.
    kept = (
        run
        if any(one.state for one in run)
        else join_neighbours([replace(one, role=run[0].role) for one in run])
    )
    for one in kept:
        yield from _blocks(one)


def _blocks(one: ChatMessage) -> Iterator[dict[str, Any]]:
    for image in one.images:
        source = {"type": "base64", "media_type": image.media_type, "data": in_base64(image)}
        yield {"type": "image", "source": source}
    written, given = 0, 0
    for thought, characters, calls in thoughts_of(one.state):
        yield from _content_blocks(one, slice(written, characters), slice(given, calls))
        yield dict(thought)
        written, given = max(written, characters), max(given, calls)
    yield from _content_blocks(one, slice(written, None), slice(given, None))


def _content_blocks(one: ChatMessage, text: slice, calls: slice) -> Iterator[dict[str, Any]]:
    if one.text[text].strip():
        yield {"type": "text", "text": one.text[text]}
    for call in one.calls[calls]:
        yield {"type": "tool_use", "id": call.call_id, "name": call.name, "input": arguments_of(call)}
