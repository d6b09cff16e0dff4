"""Any other server that speaks OpenAI's calls: llama.cpp's, vLLM, LM Studio, OpenRouter and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oblix.v1 import messages_pb2

from oblixd.models.base import (
    ChatRequest,
    Location,
    ModelError,
    ModelErrorKind,
    Options,
    RequestTokens,
    State,
    Status,
)
from oblixd.models.egress import Egress, IsLocalOnly, allow_all
from oblixd.models.encoding import has_image
from oblixd.models.hook_spec import HookSpec
from oblixd.models.http.connection import NetworkNow
from oblixd.models.http.outbound import NetworkConfig
from oblixd.models.http.request_trace import OnExchange, unheard
from oblixd.models.http.server import TIMEOUTS, Timeouts
from oblixd.models.providers import reasoning
from oblixd.models.providers.llamacpp import Limits, Tokeniser, limits_of
from oblixd.models.providers.openai import OpenAIConnection
from oblixd.models.providers.token_usage import count_of
from oblixd.models.streaming import object_of, text_of

_WINDOWS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""What vLLM, OpenRouter, Groq and LM Studio call a model's context in their lists."""


class CustomConnection(OpenAIConnection):
    """A model of a custom endpoint. What its server tells of its limits is found out once."""

    def __init__(
        self,
        spec: HookSpec,
        *,
        timeouts: Timeouts = TIMEOUTS,
        on_exchange: OnExchange = unheard,
        network: NetworkNow = NetworkConfig,
    ) -> None:
        super().__init__(
            spec, timeouts=timeouts, on_exchange=on_exchange, network=network, title="The endpoint"
        )
        # Servers other than OpenAI's know only the older name.
        self.limit = "max_tokens"
        self._tokeniser = Tokeniser(self._http)
        self._is_llamacpp = False
        self._is_learnt = False

    def thinking(self, options: Options) -> dict[str, Any]:
        """See `OpenAIConnection.thinking`."""
        is_local = self.location is Location.LOCAL
        return reasoning.for_custom(options.reasoning, self.endpoint, is_local=is_local)

    async def count_tokens(
        self, messages: Sequence[messages_pb2.Message], is_local_only: IsLocalOnly
    ) -> list[int] | None:
        """See `Connection.count_tokens`."""
        await self.confirm_location()
        if not self._is_llamacpp:
            return None
        return await self._tokeniser.count_messages(messages, Egress(self, is_local_only))

    async def count_request(self, request: ChatRequest) -> RequestTokens | None:
        """See `Connection.count_request`."""
        if not self._is_llamacpp or has_image(request):
            return None
        body = self._adapted_body(request, self._adaptation.attempt())
        return await self._tokeniser.count_request(body, Egress(self, request.is_local_only))

    async def confirm_location(self) -> None:
        """See `Connection.confirm_location`: the hook says where it is, its server what it takes."""
        if self._is_learnt:
            return
        try:
            await self.ask()
        except ModelError as error:
            # Without its list a server may answer all the same. One that is away is asked again.
            self._is_learnt = error.kind is not ModelErrorKind.UNREACHABLE

    async def ask(self) -> Status:
        """Read the server's list of models. It may answer to names that it does not list."""
        entry = _entry(await self.list_models(), self.name)
        self._is_llamacpp = text_of(entry, "owned_by") == "llamacpp"
        limits = await self._props() if self._is_llamacpp else Limits(_window(entry))
        self.context_window = self._spec.count("context_window") or limits.context
        self.max_running = self._spec.count("max_running") or limits.streams
        if self._is_llamacpp:
            await self._tokeniser.learn_template(Egress(self, allow_all))
        self._is_learnt = True
        return Status(State.READY)

    async def _props(self) -> Limits:
        try:
            return limits_of(await self.get("/props"))
        except ModelError:
            # It can be switched off there, and nothing depends on it.
            return Limits()


def _entry(entries: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Find a model in a list. A server that has only one answers to any name."""
    data = entries.get("data")
    models = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    named = [one for one in models if text_of(one, "id") == name]
    if named or len(models) == 1:
        return (named or models)[0]
    return {}


def _window(entry: Mapping[str, Any]) -> int | None:
    told = [count_of(entry, key) for key in _WINDOWS]
    return next((count for count in (*told, count_of(object_of(entry, "meta"), "n_ctx")) if count), None)
