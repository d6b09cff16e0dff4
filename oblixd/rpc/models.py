"""ModelService."""

from __future__ import annotations

import time

from google.protobuf import json_format
from oblix.v1 import models_pb2 as pb
from oblix.v1 import models_pb2_grpc, routing_pb2

from oblixd.errors import InvalidArgumentError, NotFoundError
from oblixd.execution.cooldown import Cooldowns
from oblixd.execution.route import key
from oblixd.models import hooks
from oblixd.models.base import Location, State, Status
from oblixd.models.registry import Hook, Registry
from oblixd.rpc.edge import Context, client_of

_PROVIDER = {
    pb.PROVIDER_EMBEDDED: "embedded",
    pb.PROVIDER_OLLAMA: "ollama",
    pb.PROVIDER_OPENAI: "openai",
    pb.PROVIDER_CLAUDE: "claude",
    pb.PROVIDER_CUSTOM: "custom",
}
_PROVIDER_NUMBER = {name: number for number, name in _PROVIDER.items()}
_LOCATION = {routing_pb2.LOCATION_LOCAL: Location.LOCAL, routing_pb2.LOCATION_CLOUD: Location.CLOUD}
_LOCATION_NUMBER = {location: number for number, location in _LOCATION.items()}
_STATE = {
    State.UNKNOWN: pb.MODEL_STATE_UNSPECIFIED,
    State.READY: pb.MODEL_STATE_READY,
    State.IDLE: pb.MODEL_STATE_IDLE,
    State.LOADING: pb.MODEL_STATE_LOADING,
    State.UNAVAILABLE: pb.MODEL_STATE_UNAVAILABLE,
}


class ModelServicer(models_pb2_grpc.ModelServiceServicer):
    """Translates; the models room does the work."""

    def __init__(self, registry: Registry, cooldowns: Cooldowns) -> None:
        self._registry = registry
        self._cooldowns = cooldowns

    async def HookModel(self, request: pb.HookModelRequest, context: Context) -> pb.HookModelResponse:
        spec = hooks.checked(
            _PROVIDER.get(request.provider, ""),
            request.name,
            endpoint=request.endpoint,
            api_key=request.api_key,
            location=_LOCATION.get(request.location),
            options=json_format.MessageToDict(request.options),
        )
        hook = self._registry.hook(client_of(context), spec)
        return pb.HookModelResponse(handle=hook.handle, model=self._model(hook, hook.connection.status()))

    async def UnhookModel(self, request: pb.UnhookModelRequest, context: Context) -> pb.UnhookModelResponse:
        self._registry.unhook(client_of(context), request.handle)
        return pb.UnhookModelResponse()

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        listed = self._registry.listed(client_of(context))
        return pb.ListModelsResponse(models=[self._model(hook, hook.connection.status()) for hook in listed])

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        hook = self._find(client_of(context), request.model)
        return pb.GetModelResponse(model=self._model(hook, await hook.connection.probe()))

    def _find(self, client: str, wanted: str) -> Hook:
        if not wanted:
            raise InvalidArgumentError(
                "INVALID_REQUEST", "model takes a handle or provider:name; it was empty.", field="model"
            )
        for hook in self._registry.listed(client):
            if wanted in (hook.handle, hook.id):
                return hook
        raise NotFoundError(
            "MODEL_NOT_HOOKED",
            f"No model {wanted[:256]!r} is hooked by this client or configured: hook it first.",
            model=wanted[:256],
        )

    def _model(self, hook: Hook, status: Status) -> pb.Model:
        result = _model(hook, status)
        if cooling := self._cooldowns.of(key(hook)):
            result.state = pb.MODEL_STATE_COOLING_DOWN
            result.state_reason = cooling.why
            result.cooldown_until.FromMicroseconds(round((time.time() + cooling.left_s) * 1e6))
        return result


def _model(hook: Hook, status: Status) -> pb.Model:
    connection, spec = hook.connection, hook.spec
    result = pb.Model(
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
    )
    result.options.update(dict(spec.options))
    return result
