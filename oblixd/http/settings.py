"""Where and how the HTTP endpoint serves, and with what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from oblixd.access import ClientLimits, ListenAddress, TokenStore
from oblixd.execution import Executions
from oblixd.http.names import ModelNames
from oblixd.sessions import Sessions

HOST = "127.0.0.1"
DEFAULT_PORT = 62549
_USUAL = ListenAddress(HOST, DEFAULT_PORT)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How the endpoint serves."""

    address: ListenAddress = _USUAL
    """Where it listens. Port 0: any free one."""
    origins: Collection[str] = ()
    """Web pages that may call, as their browser names them in `Origin`."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names for models."""
    record: Literal["off", "auto"] = "off"
    """Whether conversations are recorded that name no session."""
    ollama_without_token: bool = False
    """Whether clients of Ollama's API, which send no token, are let in."""


@dataclass(frozen=True, slots=True)
class HttpServices:
    """The parts of the daemon that the endpoint serves with."""

    tokens: TokenStore
    limits: ClientLimits
    executions: Executions
    names: ModelNames
    """The names of the models that answer prompts."""
    embedding_names: ModelNames
    """The names of the models that embed texts."""
    sessions: Sessions
    metrics: Callable[[], str]
    """Returns what `/metrics` shows."""
