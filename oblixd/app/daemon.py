"""The composition root: builds the parts, wires their callbacks, serves, drains."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from oblix.v1 import daemon_pb2

from oblixd import __version__, background
from oblixd.access import ClientLimits, ListenAddress, TokenStore
from oblixd.app import lifecycle, systemd, wiring
from oblixd.app.lifecycle import Clients, Lost
from oblixd.app.metrics import Metrics
from oblixd.app.observation import Observer, RecentProblems
from oblixd.app.paths import Paths
from oblixd.app.reload import Parts, Reloader
from oblixd.app.telemetry import open_providers
from oblixd.client_memory import MIB, ClientMemory
from oblixd.config.loader import Loaded
from oblixd.config.schema import Config
from oblixd.errors import DataLossError, FailedPreconditionError, OblixdError
from oblixd.execution import Executions
from oblixd.execution.execution import Execution
from oblixd.http import HttpListener, HttpServices, ModelNames
from oblixd.models.base import Location
from oblixd.models.embedded.connection import EmbeddedModels
from oblixd.models.http import client
from oblixd.models.http.outbound import NetworkConfig, OutboundRoute, Trust, has_system_store
from oblixd.models.http.request_trace import OnExchange, RequestObservation
from oblixd.models.providers.catalog import Factory, providers
from oblixd.models.pulls import Pulls
from oblixd.models.registry import Registry
from oblixd.monitor import Monitor
from oblixd.monitor.network import Network, Seen, Target
from oblixd.monitor.servers import works
from oblixd.router.policies import Policies
from oblixd.rpc.config import ConfigCalls
from oblixd.rpc.daemon import DaemonInfo, DaemonServicer
from oblixd.rpc.embeddings import EmbeddingServicer
from oblixd.rpc.endpoint import EndpointServicer
from oblixd.rpc.executions import ExecutionServicer
from oblixd.rpc.models import ModelServicer
from oblixd.rpc.monitor import MonitorServicer
from oblixd.rpc.server import Server
from oblixd.rpc.sessions import SessionServicer
from oblixd.sessions import TABLE_NAMES, Sessions
from oblixd.sessions.search import Search
from oblixd.store import Store
from oblixd.usage import TABLE_NAMES as USAGE_TABLES
from oblixd.usage import Usage

logger = logging.getLogger(__name__)

THREADS = 6
"""How many pieces of work that would hold the event loop up run at once."""
LINGER_S = 1.0
"""How long the last events may take to leave the server once every execution has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Components:
    """The parts of a daemon that it wires."""

    store: Store
    sessions: Sessions
    search: Search
    usage: Usage
    embedded_models: EmbeddedModels
    registry: Registry
    monitor: Monitor
    policies: Policies
    memory: ClientMemory
    executions: Executions
    callers: Clients
    limits: ClientLimits
    pulls: Pulls
    endpoints: dict[str, str]


class Daemon:
    """One daemon's life: `run` returns when it was told to end and has drained.

    The caller holds the lock.
    """

    def __init__(
        self,
        loaded: Loaded,
        paths: Paths,
        ignored: Sequence[str] = (),
        listen: Sequence[ListenAddress] = (),
    ) -> None:
        """`ignored`: variables of the environment about proxies and certificates, which decide nothing.

        `listen`: where to listen beside the socket.
        """
        self._loaded_config = loaded
        self._config = loaded.config
        self._paths = paths
        self._ignored_variables = ignored
        self._listen = listen
        self._recent = RecentProblems()
        self._tokens = TokenStore(paths.data / "tokens.json")
        self._network = wiring.network(loaded.config, ignored)
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()
        self._grace_s = loaded.config.daemon.grace_s
        self._started_s = time.time()
        self._failure: OblixdError | None = None

    async def run(self) -> None:
        """Serve until told to end. Raises OblixdError where it can't start, or its store failed."""
        logging.getLogger("oblixd").addHandler(self._recent)
        loop = asyncio.get_running_loop()
        loop.set_default_executor(background.thread_pool(THREADS, "work"))
        async with AsyncExitStack() as cleanup:
            server, executions, sessions = await self._serve(cleanup)
            # Not before: a start may have a large store to read, and is waited for.
            cleanup.callback(lifecycle.StallWatch(loop).close)
            await self._ending.wait()
            await self._drain(server, executions)
            sessions.close()
            await server.stop(LINGER_S)
        if self._failure is not None:
            raise self._failure
        logger.info("ended")

    def end(self, grace_s: float | None = None) -> None:
        """Begin to drain; `grace_s` None is the configured grace. A second call ends the grace at once."""
        if self._ending.is_set():
            self._hurry.set()
        elif grace_s is not None:
            self._grace_s = grace_s
        self._ending.set()

    async def _serve(self, cleanup: AsyncExitStack) -> tuple[Server, Executions, Sessions]:
        parts = await self._build(cleanup)
        observer = self._observe(parts.executions, cleanup)
        server = Server(parts.callers.called, parts.memory, parts.limits, self._tokens)
        reloader = self._make_reloader(parts)
        self._reload_on_hangup(reloader)
        await self._add_servicers(server, parts, reloader, self._measure(parts, observer, reloader), cleanup)
        await self._open_doors(server, cleanup)
        for name, work in self._work_beside(server, parts).items():
            self._keep(background.begin(work, name), cleanup)
        return server, parts.executions, parts.sessions

    async def _build(self, cleanup: AsyncExitStack) -> _Components:
        """Make the parts, each after those that it uses, and connect their callbacks."""
        config = self._config
        store = await self._open_store(cleanup)
        sessions, search = await self._conversations(store, cleanup)
        usage = Usage(store, wiring.prices(config), wiring.caps(config), zone=wiring.time_zone(config))
        embedded = EmbeddedModels(wiring.embedded_settings(config, self._paths))
        registry, monitor = await self._models_and_monitor(embedded, cleanup)
        length, policies = config.execution.queue_length, wiring.policies(config)
        memory = ClientMemory(config.daemon.client_memory_mib * MIB)
        executions = Executions(
            registry, sessions, monitor, usage, queue_length=length, policies=policies, memory=memory
        )
        sessions.on_deleted = executions.stop_session
        sessions.on_removed(executions.forget_session)
        monitor.network.on_back = executions.cooldowns.clear_origin
        return _Components(
            store=store,
            sessions=sessions,
            search=search,
            usage=usage,
            embedded_models=embedded,
            registry=registry,
            monitor=monitor,
            policies=policies,
            memory=memory,
            executions=executions,
            callers=Clients(registry.touch),
            limits=ClientLimits(wiring.limits(config)),
            pulls=Pulls(config.ollama.endpoint, lambda: self._network),
            endpoints=wiring.endpoints(config),
        )

    def _make_reloader(self, parts: _Components) -> Reloader:
        """Make what carries a changed configuration into the parts."""
        changing = Parts(
            registry=parts.registry,
            monitor=parts.monitor,
            usage=parts.usage,
            policies=parts.policies,
            slots=parts.executions.slots,
            pulls=parts.pulls,
            limits=parts.limits,
            endpoints=parts.endpoints,
            embedded_names=parts.embedded_models.names,
            factories=lambda fresh: self._factories(parts.embedded_models, parts.monitor, fresh),
            set_network=self._set_network,
            set_grace=self._set_grace,
        )
        return Reloader(self._paths, os.environ, self._loaded_config, changing)

    def _measure(self, parts: _Components, observer: Observer, reloader: Reloader) -> Metrics:
        """Make the numbers that `/metrics` shows."""
        gauges = {
            "sessions": parts.sessions.count,
            "clients": parts.callers.count,
            "watchers": lambda: parts.sessions.watch_count,
        }
        return Metrics(
            observer,
            parts.executions,
            parts.monitor,
            gauges,
            lambda: reloader.loaded_config.config.usage.currency,
            self._started_s,
        )

    async def _add_servicers(
        self,
        server: Server,
        parts: _Components,
        reloader: Reloader,
        metrics: Metrics,
        cleanup: AsyncExitStack,
    ) -> None:
        """Give the server each service of the contract."""
        executions, sessions, policies = parts.executions, parts.sessions, parts.policies
        server.add(
            executions=ExecutionServicer(executions, parts.limits),
            embeddings=EmbeddingServicer(executions, parts.limits),
            sessions=SessionServicer(sessions, parts.search, policies.check_name),
            models=ModelServicer(
                parts.registry, executions.cooldowns, parts.pulls, executions.model_stats, parts.endpoints
            ),
            monitor=MonitorServicer(parts.monitor, executions.router.recent, policies),
            daemon=DaemonServicer(
                self._about(sessions, executions, parts.callers, server, metrics),
                self.end,
                parts.usage,
                ConfigCalls(reloader),
            ),
            endpoint=await self._endpoint(
                parts.registry,
                executions,
                sessions,
                cleanup,
                policies=policies,
                limits=parts.limits,
                metrics=metrics,
            ),
        )

    def _work_beside(self, server: Server, parts: _Components) -> dict[str, Coroutine[Any, Any, object]]:
        """Return the work that goes on for as long as the daemon lives, by name."""
        return {
            "the report to the service manager": systemd.keep_reporting(
                lambda: _status_line(self._paths, parts.executions, server)
            ),
            "the way to the configured models": _open_ways(parts.callers, parts.registry),
            "the look at the embedded models": parts.embedded_models.examine(),
            "the retention of sessions": parts.sessions.keep_up(),
            "the sweeping of old usage": parts.usage.keep_up(),
            "the watch for a daemon that nobody uses": self._end_when_idle(
                parts.callers, parts.executions, parts.sessions
            ),
            "the watch for a socket or a store that is gone": self._end_when_lost(parts.store),
        }

    def _observe(self, executions: Executions, cleanup: AsyncExitStack) -> Observer:
        """Have executions counted, and sent to OpenTelemetry where that is wanted."""
        observer = Observer()
        executions.on_ended = observer.ended
        providers = open_providers(self._config.telemetry, os.environ)
        if providers is not None:
            from oblixd.app.telemetry.recorder import Telemetry  # noqa: PLC0415 - few daemons need it

            telemetry = Telemetry(providers, executions.is_local_only)
            executions.on_started = telemetry.started

            def tell_both(execution: Execution) -> None:
                observer.ended(execution)
                telemetry.ended(execution)

            executions.on_ended = tell_both
            cleanup.push_async_callback(telemetry.close)
        return observer

    async def _endpoint(
        self,
        registry: Registry,
        executions: Executions,
        sessions: Sessions,
        cleanup: AsyncExitStack,
        *,
        policies: Policies,
        limits: ClientLimits,
        metrics: Metrics,
    ) -> EndpointServicer:
        settings = wiring.http(self._config)
        tokens = self._tokens
        services = HttpServices(
            tokens,
            limits,
            executions,
            names=ModelNames(lambda: registry.resolve(()), policies.names, settings.aliases),
            embedding_names=ModelNames(
                lambda: registry.resolve_embedding(()), policies.names, settings.aliases
            ),
            sessions=sessions,
            metrics=metrics.text,
        )
        listener = HttpListener(settings, services)
        cleanup.push_async_callback(listener.close)
        if self._config.http.enabled:
            await self._open_endpoint(listener)
        return EndpointServicer(listener, tokens)

    @staticmethod
    async def _open_endpoint(listener: HttpListener) -> None:
        """Open it; a port that somebody else holds must not take the daemon from everybody else."""
        try:
            await listener.open()
        except FailedPreconditionError as error:
            logger.error("%s", error.message)  # noqa: TRY400 - a sentence for a person

    async def _models_and_monitor(
        self, embedded: EmbeddedModels, cleanup: AsyncExitStack
    ) -> tuple[Registry, Monitor]:
        """Return the two tell each other what they see, and neither knows the other."""
        config = self._config
        monitor = Monitor(
            interval_s=config.monitor.interval_s,
            check_interval_s=config.monitor.check_interval_s,
            own_pids=embedded.pids,
            origins=lambda: registry.origins(Location.CLOUD),
            target_of=lambda origin: _target(origin, registry.outbound_route_to(origin)),
            local_origins=lambda: registry.origins(Location.LOCAL),
            data=self._paths.data,
        )
        made_by = self._factories(embedded, monitor, config)
        registry = Registry(made_by, wiring.models(config, embedded.names, os.environ))
        cleanup.push_async_callback(registry.close)
        monitor.network.on_route_lost = registry.break_off
        await monitor.start()
        cleanup.push_async_callback(monitor.close)
        return registry, monitor

    def _factories(self, embedded: EmbeddedModels, monitor: Monitor, config: Config) -> Mapping[str, Factory]:
        """Return what makes connections, as a configuration has it."""
        return providers(
            embedded,
            wiring.ollama(config),
            network_observer(monitor.network),
            lambda: self._network,
            works=works,
        )

    def _reload_on_hangup(self, reloader: Reloader) -> None:
        """SIGHUP reads the configuration again. What is wrong with it is logged, and changes nothing."""

        def reload() -> None:
            systemd.reloading()
            status = f"serving on {self._paths.socket}"
            try:
                reloader.reload()
            except OblixdError as error:
                # A person's mistake, and no defect: its sentence says all.
                logger.warning("the configuration was not read again: %s", error.message)
                status += "; the configuration was not read again, see the log"
            systemd.ready(status)

        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)

    def _set_network(self, network: NetworkConfig) -> None:
        self._network = replace(network, ignored_variables=tuple(self._ignored_variables))

    def _set_grace(self, seconds: float) -> None:
        self._grace_s = seconds

    async def _open_store(self, cleanup: AsyncExitStack) -> Store:
        try:
            store = await self._open_sound_store()
        except DataLossError as error:
            if error.reason != "STORE_DAMAGED":
                raise
            await self._set_apart(error)
            store = await self._open_sound_store()
        cleanup.push_async_callback(store.close)
        store.report_crashes()
        return store

    async def _open_sound_store(self) -> Store:
        map_size = self._config.store.map_size_gib * wiring.GIB
        return await Store.open(self._paths.store, TABLE_NAMES + USAGE_TABLES, map_size=map_size)

    async def _set_apart(self, damage: DataLossError) -> None:
        """Serve what is whole in a damaged store. Raises `damage` when that is left to a person."""
        from oblixd.admin import maintenance  # noqa: PLC0415 - only a damaged store needs it

        result = await asyncio.to_thread(maintenance.set_apart_at_start, self._paths)
        if result is None:
            raise damage
        logger.error("the store was damaged, and is made anew of what is sound in it: %s", damage.message)
        for problem in result.problems:
            logger.error("damaged: session %s: %s", problem.session_id or "unknown", problem.what)
        logger.error(
            "%d sessions are whole; the damaged file is in %s", result.whole_count, result.damaged_file
        )

    async def _conversations(self, store: Store, cleanup: AsyncExitStack) -> tuple[Sessions, Search]:
        sessions = Sessions(store, keeping=wiring.retention_config(self._config))
        if interrupted := await sessions.recover():
            logger.warning(
                "%d answers were interrupted when the last daemon died; their parts are kept", interrupted
            )
        search = Search(sessions.db, self._paths.data / "search")
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
        await server.listen(self._listen)
        try:
            self._paths.publish()
        except OSError as error:  # a full disk, perhaps: who looks where we are finds us all the same
            logger.warning("clients with another environment can't be told where the socket is: %s", error)
        cleanup.callback(self._paths.retract)
        systemd.ready(f"serving on {socket}")
        logger.info("serving on %s (version %s, pid %d)", socket, __version__, os.getpid())

    async def _drain(self, server: Server, executions: Executions) -> None:
        logger.info("draining: %d executions have at most %.1f s", executions.running_count, self._grace_s)
        systemd.stopping(self._grace_s)
        await server.refuse()
        draining = asyncio.create_task(executions.drain(self._grace_s))
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            await executions.drain(0)
        hurry.cancel()
        await draining

    async def _end_when_idle(self, callers: Clients, executions: Executions, sessions: Sessions) -> None:
        idle_exit_s = self._config.daemon.idle_exit_s
        if not idle_exit_s:
            return
        await lifecycle.until_idle(
            idle_exit_s,
            lambda: callers.last_s,
            lambda: bool(executions.running_count or sessions.watch_count),
        )
        logger.info("nobody called for %.0f s", idle_exit_s)
        self.end()

    async def _end_when_lost(self, store: Store) -> None:
        socket = self._paths.socket
        lost = await lifecycle.until_lost(socket, lambda: store.is_there() and store.failure is None)
        self._failure = store.failure
        if lost is Lost.SOCKET:
            logger.warning("%s is gone: nobody can call any more, so this daemon ends", socket)
        elif self._failure is None:
            logger.error("the store in %s was removed or moved, so this daemon ends", self._paths.store)
        self.end()

    def _about(
        self,
        sessions: Sessions,
        executions: Executions,
        callers: Clients,
        server: Server,
        metrics: Metrics,
    ) -> DaemonInfo:
        paths = self._paths
        return DaemonInfo(
            version=__version__,
            started_s=self._started_s,
            paths=daemon_pb2.DaemonPaths(
                data=str(paths.data), config=str(paths.config), socket=str(paths.socket), log=str(paths.log)
            ),
            session_count=sessions.count,
            running_count=lambda: executions.running_count,
            client_count=callers.count,
            addresses=lambda: server.addresses,
            problems=lambda: server.problems,
            recent_problems=lambda: self._recent,
            metrics=metrics.text,
        )

    @staticmethod
    def _keep(task: asyncio.Task[object], cleanup: AsyncExitStack) -> None:
        """Hold a background task until the end, then let go of it."""

        async def drop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        cleanup.push_async_callback(drop)


async def _open_ways(callers: Clients, registry: Registry) -> None:
    """Import the HTTP library and connect to the configured models with the first call.

    A prompt is likely to follow. Until then both are for nobody: 7 MB, and connections that wake the daemon.
    """
    await callers.first_call.wait()
    registry.keep_warm()
    await client.warm()


def _status_line(paths: Paths, executions: Executions, server: Server) -> str:
    """Say in one line what the daemon does, for `systemctl status`."""
    problems = f"; {len(server.problems)} problems, see `oblix status`" if server.problems else ""
    return f"serving on {paths.socket}, {executions.running_count} running{problems}"


def _target(origin: str, route: OutboundRoute) -> Target:
    """Return what is looked at to tell whether a server can be reached."""
    trust = None if route.trust == Trust() and has_system_store() else route.trust.context
    return Target.of(origin, route.proxy.url if route.proxy else "", trust)


def network_observer(network: Network) -> OnExchange:
    """Return what real requests experience goes before what probes find out."""

    def show(one: RequestObservation) -> None:
        seen = Seen(one.connect_ms, one.first_byte_ms, one.failure, one.body_bytes, one.body_s, one.address)
        network.observe(one.origin, seen)

    return show
