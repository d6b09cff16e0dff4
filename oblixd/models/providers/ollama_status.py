"""What an Ollama server tells of a model: /api/show once it is pulled, /api/ps once it is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from oblixd.models.base import State
from oblixd.models.providers.token_usage import count_of
from oblixd.models.streaming import object_of, text_of

_FEATURES = {"tools": "tools", "vision": "images", "thinking": "reasoning"}


@dataclass(frozen=True, slots=True)
class OllamaSettings:
    """What every hook of an Ollama model is given that does not say it."""

    endpoint: str = "http://localhost:11434"
    """Where a model that nobody hooked is pulled."""
    num_ctx: int = 8192
    """The context window that the model is loaded with, in tokens."""
    keep_alive: str = "5m"
    """How long it stays loaded after an answer."""
    parallel: int = 1
    """Answers that the server writes at once with one model."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A model as /api/show describes it."""

    context_length: int | None
    """The longest context that it was trained for, in tokens. What is used is `num_ctx`."""
    features: tuple[str, ...]
    """See `Connection.features`."""
    is_hosted: bool
    """It answers from Ollama's cloud, whatever its name and however near the server."""

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Facts:
        """Read the answer of /api/show. What it lacks is not known: older servers name no capabilities."""
        info = object_of(answer, "model_info")
        architecture = text_of(info, "general.architecture")
        return cls(
            count_of(info, f"{architecture}.context_length") or None,
            _features(answer.get("capabilities")),
            bool(answer.get("remote_host")),
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model as /api/ps describes it while it is in the server's memory."""

    memory_bytes: int
    """Of all memory, the graphics processors' included."""
    context_length: int | None
    left_s: float
    """How long it stays, where nobody asks it anything."""

    @classmethod
    def read(cls, answer: Mapping[str, Any], name: str) -> Loaded | None:
        """Find a model in the answer of /api/ps. None: it is not loaded."""
        models = answer.get("models")
        listed = [one for one in models if isinstance(one, dict)] if isinstance(models, list) else []
        entry = next(
            (one for one in listed if _with_tag(text_of(one, "model", "name")) == _with_tag(name)), None
        )
        if entry is None:
            return None
        left_s = _left_s(text_of(entry, "expires_at"))
        return cls(count_of(entry, "size") or 0, count_of(entry, "context_length") or None, left_s)


class Residence:
    """Whether a model is in its server's memory, as far as its own answers and /api/ps told."""

    def __init__(self, keep_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.note = ""
        """Why it has to be loaded again, where that is not plain."""
        self._keep_s = keep_s
        self._clock = clock
        self._until = 0.0
        self._waiting_count = 0
        self._speaking = 0

    @property
    def state(self) -> State:
        """READY, IDLE (not loaded), or LOADING (not loaded, and somebody waits for its first word)."""
        if self._speaking or self._clock() < self._until:
            return State.READY
        return State.LOADING if self._waiting_count else State.IDLE

    def asked(self) -> None:
        """Note that a request was sent."""
        self._waiting_count += 1

    def spoke(self) -> None:
        """Note the first content: the model is loaded, as this hook wants it."""
        self._waiting_count -= 1
        self._speaking += 1
        self.note = ""

    def ended(self, *, spoke: bool) -> None:
        """Note that the request is over; from now on the server counts."""
        if not spoke:
            self._waiting_count -= 1
            return
        self._speaking -= 1
        self._until = self._clock() + self._keep_s

    def told(self, loaded: Loaded | None, num_ctx: int) -> None:
        """Hear what /api/ps says of a model that we want loaded with so many tokens."""
        other = loaded.context_length if loaded else None
        self.note = ""
        if loaded is None:
            self._until = 0.0
        elif other is not None and other != num_ctx:
            self._until = 0.0
            self.note = (
                f"Another program had it loaded with a context of {other:,} tokens. The next prompt loads "
                f"it again, with {num_ctx:,}: give both the same num_ctx to spare that."
            )
        else:
            self._until = self._clock() + loaded.left_s


def _features(capabilities: object) -> tuple[str, ...]:
    if not isinstance(capabilities, list):
        return ()
    known = [_FEATURES[one] for one in capabilities if isinstance(one, str) and one in _FEATURES]
    # The server itself holds every model to a schema.
    return ("json_schema", *known)


def _left_s(expires_at: str) -> float:
    try:
        expires = datetime.fromisoformat(expires_at)
    except ValueError:
        # It is there; for how long is not known.
        return 0.0
    # A time without a zone can't be subtracted from one with it.
    return max(0.0, (expires.replace(tzinfo=expires.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _with_tag(name: str) -> str:
    """Return a name without a tag means the tag `latest`."""
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"
