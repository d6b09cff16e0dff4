"""The models that a client hooked."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from oblix._convert.validation import describe, invalid, text
from oblix._convert.values import from_struct, to_struct
from oblix._transport.channel import Transport
from oblix.errors import FailedPreconditionError, UnavailableError
from oblix.models import ModelType
from oblix.v1 import models_pb2, routing_pb2

PROVIDERS = {
    ModelType.EMBEDDED: models_pb2.PROVIDER_EMBEDDED,
    ModelType.OLLAMA: models_pb2.PROVIDER_OLLAMA,
    ModelType.OPENAI: models_pb2.PROVIDER_OPENAI,
    ModelType.CLAUDE: models_pb2.PROVIDER_CLAUDE,
    ModelType.CUSTOM: models_pb2.PROVIDER_CUSTOM,
}
LOCATIONS = {"local": routing_pb2.LOCATION_LOCAL, "cloud": routing_pb2.LOCATION_CLOUD}

_TYPES = {number: model_type for model_type, number in PROVIDERS.items()}
_LOCATION_NAMES = {number: name for name, number in LOCATIONS.items()}


@dataclass(frozen=True, slots=True)
class _Hooked:
    # The request holds the key, and is shown to nobody.
    request: models_pb2.HookModelRequest = field(repr=False)
    model: models_pb2.Model


class Hooks:
    """What this client hooked, and how to hook it again at a daemon that has forgotten it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        # By provider:name: a model has one key and one endpoint, those that it was hooked with last.
        self._models: dict[str, _Hooked] = {}

    async def add(self, request: models_pb2.HookModelRequest) -> None:
        """Hook a model, in the place of the one of this name. Doing it again changes nothing."""
        model = await self._hook(request)
        former = self._models.get(model.id)
        self._models[model.id] = _Hooked(request, model)
        if former is not None and former.model.handle != model.handle:
            await self._unhook(former.model.handle)

    async def renew(self) -> None:
        """Hook everything again. What is replaced meanwhile stays replaced."""
        for model_id, hooked in list(self._models.items()):
            model = await self._hook(hooked.request)
            if self._models.get(model_id) is hooked:
                self._models[model_id] = _Hooked(hooked.request, model)

    async def remove(self) -> None:
        """Let go of everything."""
        self._models.clear()
        await self._unhook("")

    def models(self) -> list[models_pb2.Model]:
        """Return the models as they were when they were hooked, in that order."""
        return [hooked.model for hooked in self._models.values()]

    def handles(self) -> list[str]:
        """Return what executions choose from. Empty: the daemon's own models."""
        return [model.handle for model in self.models()]

    async def _hook(self, request: models_pb2.HookModelRequest) -> models_pb2.Model:
        answer = await self._transport.acall(lambda link: link.models.HookModel, request, repeatable=True)
        return answer.model

    async def _unhook(self, handle: str) -> None:
        """Let go of a handle; of all where it is empty."""
        request = models_pb2.UnhookModelRequest(handle=handle)
        # A daemon that is gone has let go of everything, and one that was started since knows nothing of it.
        with suppress(UnavailableError, FailedPreconditionError):
            await self._transport.acall(lambda link: link.models.UnhookModel, request, starts_daemon=False)


def hook_request(
    model_type: object, name: object, endpoint: object, options: Mapping[str, Any]
) -> models_pb2.HookModelRequest:
    """Return the request that hooks a model, still without a key. Raises InvalidArgumentError."""
    kind = type_of(model_type)
    rest = dict(options)
    request = models_pb2.HookModelRequest(
        provider=PROVIDERS[kind],
        name=text(name, "model_name"),
        endpoint=text(endpoint or "", "endpoint"),
        location=_location(rest.pop("location", None)),
    )
    if rest:
        request.options.CopyFrom(to_struct(rest, "options"))
    return request


def type_of(value: object) -> ModelType:
    """Return the model type, also of its name in lower case. Raises InvalidArgumentError."""
    try:
        return ModelType(str(value))
    except ValueError:
        raise invalid("model_type", f"one of {', '.join(ModelType)}", describe(value)) from None


def configuration_of(model: models_pb2.Model) -> dict[str, Any]:
    """Return a model's configuration. The key itself is never in it."""
    return {
        "model_type": _TYPES[model.provider].value,
        "model_name": model.name,
        "model_id": model.id,
        "endpoint": model.endpoint or None,
        "location": _LOCATION_NAMES.get(model.location),
        "has_api_key": model.has_api_key,
        "context_window": model.context_window or None,
        "options": from_struct(model.options),
    }


def _location(value: object) -> routing_pb2.Location.ValueType:
    if value is None:
        return routing_pb2.LOCATION_UNSPECIFIED
    if not isinstance(value, str) or value not in LOCATIONS:
        raise invalid("location", "local or cloud", describe(value))
    return LOCATIONS[value]
