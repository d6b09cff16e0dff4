"""OpenAI's chat completions, and every other server that speaks them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from oblixd.models.answers import Decoder, text_of
from oblixd.models.base import ChatRequest, State, Status
from oblixd.models.completions import CompletionDecoder
from oblixd.models.connection import HttpConnection
from oblixd.models.exchanges import OnExchange, unheard
from oblixd.models.failures import Peer
from oblixd.models.hooks import HookSpec
from oblixd.models.prompts import Said, function_of, in_base64, said, schema_of
from oblixd.models.servers import PATIENCE, Patience, Server


class OpenAIConnection(HttpConnection):
    """A model of OpenAI's."""

    limit = "max_completion_tokens"
    """What this server calls the most tokens of an answer. OpenAI's newer models refuse the older name."""

    def __init__(
        self,
        spec: HookSpec,
        *,
        patience: Patience = PATIENCE,
        on_exchange: OnExchange = unheard,
        title: str = "OpenAI",
    ) -> None:
        peer = Peer(
            title=title,
            endpoint=spec.endpoint,
            missing=f"Check the model's name: {spec.name} is not known there",
            api_key=spec.api_key,
        )
        headers = {"Authorization": f"Bearer {spec.api_key}"} if spec.api_key else {}
        base_url, self.prefix = _parted(spec.endpoint)
        self.path = f"{self.prefix}/chat/completions"
        super().__init__(spec, Server(peer, base_url, headers, patience=patience), on_exchange)

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Write the request in OpenAI's words."""
        return completion_body(self.name, request, said(request.messages), limit=self.limit)

    def decoder(self) -> Decoder:
        """Read the chunks of a completion."""
        return CompletionDecoder(self._peer)

    async def ask(self) -> Status:
        """Look the model up in OpenAI's list of models."""
        listed = (await self.get(f"{self.prefix}/models")).get("data")
        models = listed if isinstance(listed, list) else []
        if self.name in {text_of(one, "id") for one in models if isinstance(one, dict)}:
            return Status(State.READY)
        return Status(State.UNAVAILABLE, f"OpenAI at {self.endpoint} does not list {self.name}.")


def completion_body(
    name: str, request: ChatRequest, context: Sequence[Said], *, limit: str
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


def _messages(one: Said) -> Iterator[dict[str, Any]]:
    for result in one.results:
        yield {"role": "tool", "tool_call_id": result.call_id, "content": result.content}
    if not (one.text or one.images or one.calls):
        return
    message: dict[str, Any] = {"role": one.role, "content": _content(one)}
    if one.calls:
        message["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_json},
            }
            for call in one.calls
        ]
    yield message


def _content(one: Said) -> str | list[dict[str, Any]]:
    if not one.images:
        return one.text
    urls = (f"data:{image.media_type};base64,{in_base64(image)}" for image in one.images)
    pictures: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"type": "text", "text": one.text}, *pictures] if one.text else pictures


def _parted(endpoint: str) -> tuple[str, str]:
    """Part the server from the version of its calls, which is /v1 where no path is given: both are common."""
    if not urlsplit(endpoint).path:
        return endpoint, "/v1"
    base_url = endpoint.removesuffix("/v1")
    return base_url, endpoint.removeprefix(base_url)
