# Written by tools/sync_client.py from client/oblix/_async/models.py: change that file.
"""The models that prompts may go to: `client.models`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Literal, TypeAlias, Unpack

from oblix._convert.validation import text
from oblix._resources.core import Core
from oblix._resources.hooked_models import HookedModel, hook_request, type_of
from oblix._transport.streams import run_async
from oblix.errors import FailedPreconditionError, UnavailableError
from oblix.models import ModelType
from oblix.options import AnyPath, ModelOptions
from oblix.v1 import models_pb2

if TYPE_CHECKING:
    from oblix.reports import Model, PullProgress

ModelList: TypeAlias = "list[Model]"


class Models:
    """The models that a client's prompts may go to."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def hook(
        self,
        type: ModelType | str,  # noqa: A002 - the word that people look for
        name: str,
        *,
        endpoint: str | None = None,
        api_key: str | None = None,
        api_key_file: AnyPath | None = None,
        location: Literal["local", "cloud"] | None = None,
        **options: Unpack[ModelOptions],
    ) -> Model:
        """Add a model to those that this client's prompts may go to, and return it.

        A model that can't be reached now is also hooked; its `state_reason` says why.
        If this client hooked the model before, the new key and endpoint replace the old ones.
        `endpoint`: an http or https URL; by default OPENAI_BASE_URL, ANTHROPIC_BASE_URL or
        OLLAMA_HOST, or the provider's own address.
        The key is the first of `api_key`, the content of `api_key_file` (which only its owner can
        read), OPENAI_API_KEY or ANTHROPIC_API_KEY, and the system's keyring, if the package
        `keyring` is installed. It stays in memory, in the program and in the daemon.
        `location`: where the model runs, by default derived from the endpoint; ModelType.CUSTOM
        needs it for other machines.

        Raises InvalidArgumentError, and FailedPreconditionError for a key file that others
        can read and for a locked keyring.
        """
        from oblix._convert.api_keys import key_of
        from oblix._convert.environment import certificates, surroundings
        from oblix._convert.models import model_of

        kind = type_of(type)
        around = surroundings(kind)
        given = certificates(dict(options))
        request = hook_request(kind, name, endpoint or around.endpoint, {**given, "location": location})
        request.api_key = run_async(key_of(kind, endpoint, api_key, api_key_file, around))
        model = self._hook(request)
        former = self._core.hooked.put(HookedModel(request, model))
        if former is not None and former.model.handle != model.handle:
            self._unhook(former.model.handle)
        return model_of(model)

    def unhook(self, model: str | Model) -> bool:
        """Unhook a model of this client, by its `provider:name`. Return False if it hooked none."""
        from oblix.reports import Model

        hooked = self._core.hooked.pop(model.id if isinstance(model, Model) else text(model, "model"))
        if hooked is None:
            return False
        self._unhook(hooked.model.handle)
        return True

    def list(self, *, all_clients: bool = False) -> ModelList:
        """Return the models that this client hooked and those of the daemon's configuration.

        `all_clients`: also the models that other programs hooked, without their handles.
        """
        from oblix._convert.models import model_of

        request = models_pb2.ListModelsRequest(all_clients=all_clients)
        answer = self._core.transport.call(lambda link: link.models.ListModels, request, repeatable=True)
        return [model_of(model) for model in answer.models]

    def get(self, model: str | Model) -> Model:
        """Read a model's live state, probing it first. `model`: `provider:name`. Raises NotFoundError."""
        from oblix._convert.models import model_of
        from oblix.reports import Model

        name = model.handle or model.id if isinstance(model, Model) else text(model, "model")
        request = models_pb2.GetModelRequest(model=name)
        answer = self._core.transport.call(
            lambda link: link.models.GetModel, request, repeatable=True, timeout_s=None
        )
        return model_of(answer.model)

    def pull(self, model: str) -> Generator[PullProgress, None, None]:
        """Make Ollama fetch a model, and yield the progress until the model is there.

        `model`: `ollama:NAME`. A model that this client hooked is pulled to its server, another one
        to the endpoint of the daemon's configuration. Clients that pull the same model share one
        pull. If you leave the loop and no other client waits, the pull stops; a later one continues
        there.

        Raises InvalidArgumentError (PULL_UNSUPPORTED for another provider), FailedPreconditionError
        if there is no such model, and UnavailableError if the server can't be reached or fails.
        """
        from oblix._convert.models import pull_of

        request = models_pb2.PullModelRequest(model=text(model, "model"))
        steps = self._core.transport.iterate(
            lambda link: link.models.PullModel(request, metadata=link.metadata), repeatable=True
        )
        with closing(steps):
            for step in steps:
                yield pull_of(step)

    def renew(self) -> None:
        """Register every model again at a restarted daemon. Prompts do so automatically."""
        for hooked in self._core.hooked.all():
            self._core.hooked.renew(hooked, self._hook(hooked.request))

    def release(self) -> None:
        """Unhook all models of this client. Closing the client does so."""
        if self._core.hooked.all() and self._core.transport.is_connected:
            self._core.hooked.clear()
            self._unhook("")

    def _hook(self, request: models_pb2.HookModelRequest) -> models_pb2.Model:
        answer = self._core.transport.call(lambda link: link.models.HookModel, request, repeatable=True)
        return answer.model

    def _unhook(self, handle: str) -> None:
        """Let go of a handle; of all where it is empty."""
        request = models_pb2.UnhookModelRequest(handle=handle)
        # A daemon that is gone has let go of everything, and one that was started since knows nothing of it.
        with suppress(UnavailableError, FailedPreconditionError):
            self._core.transport.call(lambda link: link.models.UnhookModel, request, starts_daemon=False)
