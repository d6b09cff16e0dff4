"""Which model a client means: `auto`, a policy's name, an alias, or `provider:name`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence

from oblix.v1 import embeddings_pb2, executions_pb2

from oblixd.errors import NotFoundError
from oblixd.models import Hook

AUTO = "auto"
_LATEST = ":latest"
"""Ollama's clients append it to names without a tag."""


Request = executions_pb2.ExecuteRequest | embeddings_pb2.EmbedTextsRequest


class ModelNames:
    """Reads the names that clients give, and lists those that they may give.

    One for the models that answer prompts, another for those that turn texts into vectors.
    """

    def __init__(
        self,
        hooks: Callable[[], Sequence[Hook]],
        policies: Iterable[str],
        aliases: Mapping[str, str],
    ) -> None:
        """`aliases`: other names for `auto`, a policy or a model, as the configuration has them."""
        self._hooks = hooks
        self._policies = tuple(policies)
        self._aliases = aliases

    def apply(self, name: str, request: Request) -> None:
        """Set the request's model or policy by the name.

        Raises NotFoundError MODEL_NOT_FOUND with the nearest names.
        """
        known = self.all_names()
        given = name if name in known else name.removesuffix(_LATEST)
        meant = self._aliases.get(given, given)
        if meant == AUTO:
            return
        if meant in self._policies:
            request.policy.name = meant
        elif meant in (hook.id for hook in self._hooks()):
            request.model = meant
        elif len(pinned := self._by_name(meant)) == 1:
            request.model = pinned[0]
        else:
            raise _unknown(name, known)

    def all_names(self) -> list[str]:
        """List every name that a client may give, `auto` first."""
        return [AUTO, *self._policies, *self._aliases, *self.models()]

    def hook(self, name: str) -> Hook | None:
        """Return the model that a name pins; None for a name that routes."""
        request = executions_pb2.ExecuteRequest()
        self.apply(name, request)
        return next((hook for hook in self._hooks() if hook.id == request.model), None)

    def windows(self) -> list[int]:
        """List the context windows that are known, in tokens."""
        return [window for hook in self._hooks() if (window := hook.connection.context_window)]

    def hooks(self) -> Sequence[Hook]:
        """List the models that clients of the endpoint can reach."""
        return self._hooks()

    def models(self) -> list[str]:
        """List the models alone, as provider:name."""
        return list(dict.fromkeys(hook.id for hook in self._hooks()))

    def _by_name(self, name: str) -> list[str]:
        """Find models by the provider's own name, which clients that know one provider only send."""
        return list(dict.fromkeys(hook.id for hook in self._hooks() if hook.spec.name == name))


def _unknown(name: str, names: Sequence[str]) -> NotFoundError:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:8]
    message = (
        f"There is no model {name[:128]!r}. Ask for auto, for a policy, or for one of these: "
        f"{', '.join(near)}. /v1/models lists all; an alias in the configuration's [http] aliases adds names."
    )
    return NotFoundError("MODEL_NOT_FOUND", message, field="model", model=name[:128])
