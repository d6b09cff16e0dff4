"""Executions on real parts: LMDB, the registry, connections over HTTP, and a server that speaks Ollama."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from oblix.testing import OllamaServer
from oblix.v1 import executions_pb2, messages_pb2, sessions_pb2
from support.servers.providers import KINDS

from oblixd.execution import Executions
from oblixd.models import hook_spec
from oblixd.models.embedded.connection import EmbeddedModels, EmbeddedSettings
from oblixd.models.http.server import Timeouts
from oblixd.models.providers.catalog import providers
from oblixd.models.registry import Registry
from oblixd.monitor import Monitor
from oblixd.sessions import TABLE_NAMES, Sessions
from oblixd.store import Store
from oblixd.usage import TABLE_NAMES as USAGE_TABLES
from oblixd.usage import Caps, Prices, Usage
from oblixd.usage.prices import parse_price

CLIENT = "test"
NONE: Mapping[str, Timeouts] = {}


@dataclass
class Harness:
    """The packages that an execution needs."""

    sessions: Sessions
    registry: Registry
    executions: Executions
    usage: Usage

    def hook(self, server: OllamaServer, name: str = "llama2") -> str:
        return self.hook_at(server.url, name)

    def hook_at(self, url: str, name: str = "llama2") -> str:
        return self.registry.hook(CLIENT, hook_spec.spec_of("ollama", name, endpoint=url)).handle

    async def session(self, **fields: object) -> str:
        return (await self.sessions.create(sessions_pb2.Session(**fields))).id

    def messages_of(self, session_id: str) -> list[tuple[int, str, int]]:
        """Role, text and status of each message."""
        messages, _ = self.sessions.messages(session_id, page_size=0, page_token="", newest_first=False)
        return [(m.role, "".join(part.text for part in m.parts), m.status) for m in messages]


def prompt(text: str, *candidates: str, **fields: object) -> executions_pb2.ExecuteRequest:
    """A request with one user message."""
    given = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=text)])
    return executions_pb2.ExecuteRequest(input=[given], candidates=candidates, **fields)


@asynccontextmanager
async def harness_in(
    tmp_path: Path,
    timeouts: Mapping[str, Timeouts] = NONE,
    *,
    prices: Sequence[str] = (),
    caps: Caps | None = None,
) -> AsyncIterator[Harness]:
    """The parts on a store in a directory of the test's own. `timeouts` gives those of a provider."""
    store = await Store.open(tmp_path / "store", TABLE_NAMES + USAGE_TABLES, map_size=1 << 28)
    sessions = Sessions(store)
    embedded = EmbeddedModels(EmbeddedSettings(runtime_dir=tmp_path, state_dir=tmp_path))
    short = {name: partial(KINDS[name].connect, timeouts=given) for name, given in timeouts.items()}
    registry = Registry({**providers(embedded), **short}, [])
    usage = Usage(store, Prices(dict(map(parse_price, prices))), caps)
    executions = Executions(registry, sessions, Monitor(), usage)
    sessions.on_deleted = executions.stop_session
    sessions.on_removed(executions.forget_session)
    yield Harness(sessions, registry, executions, usage)
    await executions.drain(0)
    await registry.close()
    await store.close()
