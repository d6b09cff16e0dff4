"""The composition root: builds the parts, wires their callbacks, serves, drains."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

from oblix.v1 import daemon_pb2
from oblix.v1.sessions_pb2 import RetentionAction

from oblixd import __version__, endings, keys, notify
from oblixd.callers import Callers
from oblixd.config import Config
from oblixd.execution import Executions
from oblixd.execution.policies import Policies
from oblixd.models import hooks, http
from oblixd.models.base import Location
from oblixd.models.embedded import files
from oblixd.models.embedded.connection import EmbeddedModels, EmbeddedSettings
from oblixd.models.exchanges import Exchange, OnExchange
from oblixd.models.hooks import HookSpec
from oblixd.models.ollama_facts import OllamaSettings
from oblixd.models.providers import providers
from oblixd.models.pulls import Pulls
from oblixd.models.registry import Registry
from oblixd.monitor import Monitor
from oblixd.monitor.network import Network, Seen
from oblixd.paths import Paths
from oblixd.rpc.daemon import About, DaemonServicer
from oblixd.rpc.executions import ExecutionServicer
from oblixd.rpc.models import ModelServicer
from oblixd.rpc.monitor import MonitorServicer
from oblixd.rpc.server import Server
from oblixd.rpc.sessions import SessionServicer
from oblixd.sessions import TABLE_NAMES, Keeping, Sessions
from oblixd.sessions.search import Search
from oblixd.store import Store
from oblixd.usage import TABLE_NAMES as USAGE_TABLES
from oblixd.usage import Caps, Prices, Usage
from oblixd.usage.budgets import Action

_log = logging.getLogger(__name__)

GIB = 1 << 30
LINGER_S = 1.0
"""How long the last events may take to leave the server once every execution has ended."""


class Daemon:
    """One daemon's life: `run` returns when it was told to end and has drained.

    The caller holds the lock.
    """

    def __init__(self, config: Config, paths: Paths) -> None:
        self._config = config
        self._paths = paths
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()
        self._grace_s = config.daemon.grace_s
        self._started_s = time.time()

    async def run(self) -> None:
        """Serve until told to end. Raises OblixdError where it can't start."""
        async with AsyncExitStack() as cleanup:
            server, executions, sessions = await self._serve(cleanup)
            await self._ending.wait()
            await self._drain(server, executions)
            sessions.close()
            await server.stop(LINGER_S)
        _log.info("ended")

    def end(self, grace_s: float | None = None) -> None:
        """Begin to drain; `grace_s` None is the configured grace. A second call ends the grace at once."""
        if self._ending.is_set():
            self._hurry.set()
        elif grace_s is not None:
            self._grace_s = grace_s
        self._ending.set()

    async def _serve(self, cleanup: AsyncExitStack) -> tuple[Server, Executions, Sessions]:
        store = await self._open_store(cleanup)
        sessions, search = await self._conversations(store, cleanup)
        usage = self._usage(store)
        embedded = EmbeddedModels(self._embedded_settings())
        monitor = Monitor(
            interval_s=self._config.monitor.interval_s,
            check_interval_s=self._config.monitor.check_interval_s,
            own_pids=embedded.pids,
            origins=lambda: registry.origins(Location.CLOUD),
            local_origins=lambda: registry.origins(Location.LOCAL),
            data=self._paths.data,
        )
        made_by = providers(embedded, self._ollama_settings(), _shown_to(monitor.network))
        registry = Registry(made_by, self._configured_models(embedded))
        cleanup.push_async_callback(registry.close)
        monitor.network.on_left = registry.break_off
        await monitor.start()
        cleanup.push_async_callback(monitor.close)
        length = self._config.execution.queue_length
        executions = Executions(
            registry, sessions, monitor, usage, queue_length=length, policies=self._policies()
        )
        sessions.on_deleted = executions.session_deleted
        callers = Callers(registry.touch)
        server = Server(callers.called)
        server.add(
            ExecutionServicer(executions),
            SessionServicer(sessions, search),
            ModelServicer(
                registry, executions.cooldowns, Pulls(self._config.ollama.endpoint), executions.live
            ),
            MonitorServicer(monitor, executions.router.recent),
            DaemonServicer(self._about(sessions, executions, callers), self.end, usage),
        )
        await self._open_doors(server, cleanup)
        self._keep(asyncio.create_task(http.warm()), cleanup)
        registry.keep_warm()
        self._keep(asyncio.create_task(embedded.examine()), cleanup)
        self._keep(asyncio.create_task(sessions.keep_up()), cleanup)
        self._keep(asyncio.create_task(usage.keep_up()), cleanup)
        self._keep(asyncio.create_task(self._end_when_idle(callers, executions, sessions)), cleanup)
        self._keep(asyncio.create_task(self._end_when_deaf()), cleanup)
        return server, executions, sessions

    async def _open_store(self, cleanup: AsyncExitStack) -> Store:
        tables = TABLE_NAMES + USAGE_TABLES
        store = await Store.open(self._paths.store, tables, map_size=self._config.store.map_size_gib * GIB)
        cleanup.push_async_callback(store.close)
        return store

    async def _conversations(self, store: Store, cleanup: AsyncExitStack) -> tuple[Sessions, Search]:
        sessions = Sessions(store, keeping=self._keeping())
        if interrupted := await sessions.recover():
            _log.warning(
                "%d answers were interrupted when the last daemon died; their parts are kept", interrupted
            )
        search = Search(sessions.ledger, self._paths.data / "search")
        search.start()
        cleanup.push_async_callback(search.close)
        return sessions, search

    async def _open_doors(self, server: Server, cleanup: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        socket = self._paths.socket
        await server.start(socket)
        cleanup.callback(socket.unlink, missing_ok=True)
        self._paths.publish()
        cleanup.callback(self._paths.retract)
        notify.ready(f"serving on {socket}")
        _log.info("serving on %s (version %s, pid %d)", socket, __version__, os.getpid())

    async def _drain(self, server: Server, executions: Executions) -> None:
        _log.info("draining: %d executions have at most %.1f s", executions.running_count, self._grace_s)
        notify.stopping()
        await server.refuse()
        draining = asyncio.create_task(executions.drain(self._grace_s))
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            await executions.drain(0)
        hurry.cancel()
        await draining

    async def _end_when_idle(self, callers: Callers, executions: Executions, sessions: Sessions) -> None:
        idle_exit_s = self._config.daemon.idle_exit_s
        if not idle_exit_s:
            return
        await endings.until_idle(
            idle_exit_s,
            lambda: callers.last_s,
            lambda: bool(executions.running_count or sessions.watch_count),
        )
        _log.info("nobody called for %.0f s", idle_exit_s)
        self.end()

    async def _end_when_deaf(self) -> None:
        await endings.until_deaf(self._paths.socket)
        _log.warning("%s is gone: nobody can call any more, so this daemon ends", self._paths.socket)
        self.end()

    def _keeping(self) -> Keeping:
        given = self._config.sessions
        action = RetentionAction.Value(f"RETENTION_ACTION_{given.retention_action.upper()}")
        return Keeping(given.deleted_days, given.retention_days, action)

    def _usage(self, store: Store) -> Usage:
        given = self._config.usage
        action: Action = "local" if given.cap_action == "local" else "refuse"
        caps = Caps(given.daily_cap, given.monthly_cap, action, given.currency)
        return Usage(store, Prices(given.prices), caps)

    def _policies(self) -> Policies:
        given = self._config.routing
        return Policies(given.policies, given.rules, given.policy)

    def _embedded_settings(self) -> EmbeddedSettings:
        given = self._config.embedded
        return EmbeddedSettings(
            runtime_dir=self._paths.runtime_dir,
            state_dir=self._paths.data,
            files=files.configured(given.models),
            max_memory_bytes=round(given.max_memory_gib * GIB),
            context=given.context,
            slots=given.parallel,
            threads=given.threads,
            max_tokens=given.max_tokens,
            idle_unload_s=given.idle_unload_s,
        )

    def _ollama_settings(self) -> OllamaSettings:
        given = self._config.ollama
        return OllamaSettings(given.endpoint, given.num_ctx, given.keep_alive, given.parallel)

    def _configured_models(self, embedded: EmbeddedModels) -> list[HookSpec]:
        ollama = self._config.ollama
        specs = [hooks.checked("ollama", name, endpoint=ollama.endpoint) for name in ollama.models]
        specs += self._cloud_models()
        own = [HookSpec("embedded", name) for name in embedded.names]
        return [*own, *specs] if self._config.embedded.enabled else specs

    def _cloud_models(self) -> Iterator[HookSpec]:
        for provider, given in (("openai", self._config.openai), ("claude", self._config.claude)):
            key = keys.configured(provider, given.key_file, os.environ) if given.models else ""
            for name in given.models:
                yield hooks.checked(provider, name, endpoint=given.endpoint, api_key=key)

    def _about(self, sessions: Sessions, executions: Executions, callers: Callers) -> About:
        paths = self._paths
        return About(
            version=__version__,
            started_s=self._started_s,
            paths=daemon_pb2.DaemonPaths(
                data=str(paths.data), config=str(paths.config), socket=str(paths.socket), log=str(paths.log)
            ),
            session_count=sessions.count,
            running_count=lambda: executions.running_count,
            client_count=callers.count,
        )

    @staticmethod
    def _keep(task: asyncio.Task[object], cleanup: AsyncExitStack) -> None:
        """Hold a background task until the end, then let go of it."""

        async def drop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        cleanup.push_async_callback(drop)


def _shown_to(network: Network) -> OnExchange:
    """What real requests experience goes before what probes find out."""

    def show(one: Exchange) -> None:
        seen = Seen(one.connect_ms, one.first_byte_ms, one.failure, one.body_bytes, one.body_s)
        network.observe(one.origin, seen)

    return show
