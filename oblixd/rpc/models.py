"""ModelService."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing

from google.protobuf.struct_pb2 import Struct, Value
from oblix.v1 import models_pb2, models_pb2_grpc, routing_pb2

from oblixd.errors import NotFoundError, invalid_argument, out_of_range
from oblixd.execution import attempt, to_client
from oblixd.models import (
    Hook,
    HookSpec,
    Location,
    ModelError,
    Progress,
    Pulls,
    Registry,
    State,
    Status,
    hook_spec,
    options,
)
from oblixd.router import Cooldowns, ModelStats
from oblixd.rpc.edge import Context, client_of

_PROVIDER = {
    number: name.removeprefix("PROVIDER_").lower() for name, number in models_pb2.Provider.items() if number
}
_PROVIDER_NUMBER = {name: number for number, name in _PROVIDER.items()}
_LOCATION = {routing_pb2.LOCATION_LOCAL: Location.LOCAL, routing_pb2.LOCATION_CLOUD: Location.CLOUD}
_LOCATION_NUMBER = {location: number for number, location in _LOCATION.items()}
_STATE = {
    State.UNKNOWN: models_pb2.MODEL_STATE_UNSPECIFIED,
    State.READY: models_pb2.MODEL_STATE_READY,
    State.IDLE: models_pb2.MODEL_STATE_IDLE,
    State.LOADING: models_pb2.MODEL_STATE_LOADING,
    State.UNAVAILABLE: models_pb2.MODEL_STATE_UNAVAILABLE,
}


class ModelServicer(models_pb2_grpc.ModelServiceServicer):
    """Translates; the models package does the work."""

    def __init__(
        self,
        registry: Registry,
        cooldowns: Cooldowns,
        pulls: Pulls,
        live: Callable[[Hook], ModelStats],
        endpoints: Mapping[str, str],
    ) -> None:
        """`endpoints`: where each provider's models are for a hook that names no endpoint."""
        self._registry = registry
        self._cooldowns = cooldowns
        self._pulls = pulls
        self._live = live
        self._endpoints = endpoints

    async def HookModel(
        self, request: models_pb2.HookModelRequest, context: Context
    ) -> models_pb2.HookModelResponse:
        provider = _PROVIDER.get(request.provider, "")
        spec = hook_spec.spec_of(
            provider,
            request.name,
            endpoint=request.endpoint or self._endpoints.get(provider, ""),
            api_key=request.api_key,
            location=_LOCATION.get(request.location),
            options=_values(request.options),
        )
        hook = self._registry.hook(client_of(context), spec)
        return models_pb2.HookModelResponse(
            handle=hook.handle, model=self._model(hook, hook.connection.status())
        )

    async def UnhookModel(
        self, request: models_pb2.UnhookModelRequest, context: Context
    ) -> models_pb2.UnhookModelResponse:
        self._registry.unhook(client_of(context), request.handle)
        return models_pb2.UnhookModelResponse()

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: Context
    ) -> models_pb2.ListModelsResponse:
        registry, client = self._registry, client_of(context)
        listed = registry.everyone(client) if request.all_clients else registry.hooks_of(client)
        return models_pb2.ListModelsResponse(
            models=[self._model(hook, hook.connection.status()) for hook in listed]
        )

    async def GetModel(
        self, request: models_pb2.GetModelRequest, context: Context
    ) -> models_pb2.GetModelResponse:
        hook = self._find(client_of(context), request.model)
        return models_pb2.GetModelResponse(model=self._model(hook, await hook.connection.probe()))

    async def PullModel(
        self, request: models_pb2.PullModelRequest, context: Context
    ) -> AsyncIterator[models_pb2.PullModelResponse]:
        client = client_of(context)
        spec = self._to_pull(client, request.model)
        try:
            async with aclosing(self._pulls.pull(spec)) as pull:
                async for progress in pull:
                    yield _progress(progress)
        except ModelError as error:
            raise to_client(error, [attempt(spec.id, error)]) from error
        for hook in self._registry.hooks_of(client):
            if (hook.id, hook.spec.endpoint) == (spec.id, spec.endpoint):
                await hook.connection.probe()

    def _to_pull(self, client: str, model_id: str) -> HookSpec:
        provider, _, name = model_id.partition(":")
        hook = self._held_hook(client, model_id)
        if hook is None and provider == "ollama":
            return self._pulls.spec(name)
        if hook is not None and hook.spec.provider == "ollama":
            return hook.spec
        if hook is None and provider not in hook_spec.PROVIDERS:
            raise _not_hooked_error(model_id)
        message = f"model takes ollama:NAME, as only Ollama pulls models; given: {model_id[:256]!r}."
        raise invalid_argument(
            "PULL_UNSUPPORTED", message, field="model", limit="ollama:NAME", given=model_id
        )

    def _find(self, client: str, name: str) -> Hook:
        hook = self._held_hook(client, name)
        if hook is None:
            raise _not_hooked_error(name)
        return hook

    def _held_hook(self, client: str, handle: str) -> Hook | None:
        if not handle:
            raise out_of_range("INVALID_REQUEST", "model", "a handle or provider:name", "nothing")
        listed = self._registry.hooks_of(client)
        return next((hook for hook in listed if handle in (hook.handle, hook.id)), None)

    def _model(self, hook: Hook, status: Status) -> models_pb2.Model:
        result = _model(hook, status)
        live = self._live(hook)
        result.queued_count = live.waiting_count
        result.tokens_per_second = live.tokens_per_second
        if live.time_to_first_token_s is not None:
            result.last_time_to_first_token.FromMicroseconds(round(live.time_to_first_token_s * 1e6))
        if live.unreachable_reason:
            result.state, result.state_reason = models_pb2.MODEL_STATE_UNAVAILABLE, live.unreachable_reason
        if cooling := self._cooldowns.find(hook.key):
            result.state = models_pb2.MODEL_STATE_COOLING_DOWN
            result.state_reason = cooling.why
            result.cooldown_until.FromMicroseconds(_future_us(cooling.left_s))
        return result


def _model(hook: Hook, status: Status) -> models_pb2.Model:
    connection, spec = hook.connection, hook.spec
    result = models_pb2.Model(
        id=hook.id,
        handle=hook.handle,
        provider=_PROVIDER_NUMBER[spec.provider],
        name=spec.name,
        endpoint=connection.endpoint,
        location=_LOCATION_NUMBER[connection.location],
        state=_STATE[status.state],
        state_reason=status.reason,
        running_count=connection.running,
        context_window=connection.context_window or 0,
        has_api_key=bool(spec.api_key),
        max_running=connection.max_running or 0,
        features=connection.features,
        memory_bytes=connection.memory_bytes,
    )
    result.options.update(options.display_options(spec.options))
    if limited_s := connection.limited_s:
        result.limited_until.FromMicroseconds(_future_us(limited_s))
    return result


def _values(options: Struct) -> dict[str, object]:
    """Return each option as it was sent, for `options_of` to judge: JSON would refuse NaN before."""
    return {key: _value_of(value) for key, value in options.fields.items()}


def _value_of(value: Value) -> object:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _values(value.struct_value)
        case "list_value":
            return [_value_of(one) for one in value.list_value.values]
        case None | "null_value":
            return None
        case kind:
            return getattr(value, kind)


def _progress(progress: Progress) -> models_pb2.PullModelResponse:
    return models_pb2.PullModelResponse(
        status=progress.status,
        completed_bytes=progress.completed_bytes,
        total_bytes=progress.total_bytes,
        digest=progress.digest,
    )


def _future_us(seconds: float) -> int:
    """Return a moment of the future in microseconds since 1970."""
    return round((time.time() + seconds) * 1e6)


def _not_hooked_error(handle: str) -> NotFoundError:
    message = f"No model {handle[:256]!r} is hooked by this client or configured: hook it first."
    return NotFoundError("MODEL_NOT_HOOKED", message, model=handle[:256])
