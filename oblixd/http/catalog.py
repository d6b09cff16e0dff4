"""The lists of models, with every field that clients read for the context window."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import Any

from oblixd.http.names import ModelNames
from oblixd.models import Hook, Location, State

FALLBACK_WINDOW = 8192
"""What is told where no window is known: clients divide by it."""


_CAPABILITIES = {"images": "vision", "reasoning": "thinking"}


class Catalog:
    """Describes the names that a client may ask for."""

    def __init__(self, names: ModelNames, embedding_names: ModelNames) -> None:
        self._names = names
        self._embedding_names = embedding_names
        self._created_s = int(time.time())

    def openai(self) -> dict[str, Any]:
        """Return the body of `/v1/models`, in OpenAI's form and Anthropic's at once."""
        data = [self.entry(name) for name in self._all_names()]
        return {
            "object": "list",
            "data": data,
            "has_more": False,
            "first_id": data[0]["id"],
            "last_id": data[-1]["id"],
        }

    def entry(self, name: str) -> dict[str, Any]:
        """Return one model. Raises NotFoundError."""
        hook = self._hook(name)
        window = self.window(hook)
        return {
            "id": name,
            "object": "model",
            "type": "model",
            "created": self._created_s,
            "created_at": _time(self._created_s),
            "display_name": name,
            "lifecycle": "active",
            "owned_by": hook.spec.provider if hook else "oblix",
            "context_window": window,
            "context_length": window,
            "max_context_length": window,
            "max_model_len": window,
            "max_input_tokens": window,
            "meta": {"n_ctx": window, "n_ctx_train": window},
        }

    def window(self, hook: Hook | None) -> int:
        """Return a model's window in tokens; for a name that routes, the smallest that is known."""
        if hook is not None:
            return hook.connection.context_window or FALLBACK_WINDOW
        return min(self._names.windows(), default=FALLBACK_WINDOW)

    def tags(self) -> dict[str, Any]:
        """Return the body of `/api/tags`."""
        return {"models": [self._tag(name) for name in self._all_names()]}

    def loaded_models(self) -> dict[str, Any]:
        """Return the body of `/api/ps`: the local models that are loaded."""
        loaded = [
            hook
            for hook in [*self._names.hooks(), *self._embedding_names.hooks()]
            if hook.connection.location is Location.LOCAL and hook.connection.status().state is State.READY
        ]
        return {
            "models": [
                {
                    **self._tag(hook.id),
                    "expires_at": _time(int(time.time()) + 300),
                    "size_vram": 0,
                    "context_length": self.window(hook),
                }
                for hook in loaded
            ]
        }

    def show(self, name: str) -> dict[str, Any]:
        """Return the body of `/api/show`. Raises NotFoundError."""
        hook = self._hook(name)
        return {
            "license": "",
            "modelfile": f"# served by oblixd: {name}\nFROM {name}\n",
            "parameters": f"num_ctx {self.window(hook)}",
            "template": "{{ .Prompt }}",
            "details": _details(hook),
            "model_info": {
                "general.architecture": "oblix",
                "oblix.context_length": self.window(hook),
            },
            "capabilities": _capabilities(hook),
            "modified_at": _time(self._created_s),
        }

    def _all_names(self) -> list[str]:
        return [*self._names.all_names(), *self._embedding_names.models()]

    def _hook(self, name: str) -> Hook | None:
        """Return the model that a name pins; None for a name that routes. Raises NotFoundError."""
        if name in self._embedding_names.models():
            return self._embedding_names.hook(name)
        return self._names.hook(name)

    def _tag(self, name: str) -> dict[str, Any]:
        hook = self._hook(name)
        return {
            "name": name,
            "model": name,
            "modified_at": _time(self._created_s),
            "size": hook.connection.memory_bytes if hook else 0,
            "digest": hashlib.sha256(name.encode()).hexdigest(),
            "details": _details(hook),
        }


def _capabilities(hook: Hook | None) -> list[str]:
    """Return what a model can do in Ollama's words."""
    if hook is not None and hook.spec.embeds:
        return ["embedding"]
    features = hook.connection.features if hook else ()
    can = {"tools", "images", "reasoning"} & set(features or ("tools",))
    return ["completion", *sorted(_CAPABILITIES.get(one, one) for one in can)]


def _details(hook: Hook | None) -> dict[str, Any]:
    family = hook.spec.provider if hook else "oblix"
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": "",
    }


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
