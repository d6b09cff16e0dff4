"""The models that a client hooked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oblix._convert.validation import describe, invalid, text
from oblix._convert.values import from_struct, to_struct
from oblix.models import ModelType
from oblix.v1 import models_pb2, routing_pb2

PROVIDERS = {kind: models_pb2.Provider.Value(f"PROVIDER_{kind.name}") for kind in ModelType}
LOCATIONS = {"local": routing_pb2.LOCATION_LOCAL, "cloud": routing_pb2.LOCATION_CLOUD}

EMBEDDING = "embedding"

_TYPES = {number: model_type for model_type, number in PROVIDERS.items()}
_LOCATION_NAMES = {number: name for name, number in LOCATIONS.items()}


@dataclass(frozen=True, slots=True)
class HookedModel:
    """A model that a client hooked, and the request that hooks it again."""

    # The request holds the key, and is shown to nobody.
    request: models_pb2.HookModelRequest = field(repr=False)
    model: models_pb2.Model

    @property
    def is_for_embedding(self) -> bool:
        """Whether it turns texts into vectors: the option `task` says so."""
        options = self.request.options
        return "task" in options and options["task"] == EMBEDDING


class HookRegistry:
    """What a client hooked, and how to hook it again at a daemon that has forgotten it."""

    def __init__(self) -> None:
        # By provider:name: a model has one key and one endpoint, those that it was hooked with last.
        self._models: dict[str, HookedModel] = {}

    def put(self, model: HookedModel) -> HookedModel | None:
        """Keep a model in the place of the one of its name, and return that one."""
        former = self._models.get(model.model.id)
        self._models[model.model.id] = model
        return former

    def renew(self, renewed_model: HookedModel, model: models_pb2.Model) -> None:
        """Note that a model was hooked again. What was replaced meanwhile stays replaced."""
        if self._models.get(renewed_model.model.id) is renewed_model:
            self._models[renewed_model.model.id] = HookedModel(renewed_model.request, model)

    def pop(self, model_id: str) -> HookedModel | None:
        """Forget a model, and return it. None where it was not hooked."""
        return self._models.pop(model_id, None)

    def clear(self) -> None:
        """Forget all."""
        self._models.clear()

    def all(self) -> list[HookedModel]:
        """Return what is hooked, in the order of hooking."""
        return list(self._models.values())

    def models(self) -> list[models_pb2.Model]:
        """Return the models as they were when they were hooked, in that order."""
        return [hooked.model for hooked in self._models.values()]

    def handles(self) -> list[str]:
        """Return what prompts choose from. Empty: the daemon's own models."""
        return [hooked.model.handle for hooked in self._models.values() if not hooked.is_for_embedding]

    def embedding_handles(self) -> list[str]:
        """Return what texts to embed choose from. Empty: the daemon's own models."""
        return [hooked.model.handle for hooked in self._models.values() if hooked.is_for_embedding]


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
