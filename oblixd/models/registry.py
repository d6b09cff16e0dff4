"""The models that can be asked: those of the configuration, and those that clients hooked.

Connections that nobody holds any more: kept a while for who comes back, closed after their last stream.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from oblixd.errors import FailedPreconditionError, ResourceExhaustedError
from oblixd.models.base import Connection, Location
from oblixd.models.hook_spec import HookSpec
from oblixd.models.http.outbound import OutboundRoute
from oblixd.models.options import MOST_STREAMS
from oblixd.models.providers.catalog import Factory

LINGER_S = 300.0
"""How long a connection is kept whose last client left: the next process in a shell finds it open."""


class Leases:
    """Who still means to use a connection, whether any client holds it or not."""

    def __init__(self) -> None:
        # Ordered sets: ten thousand prompts may wait for one connection.
        self._waiters: dict[Connection, dict[asyncio.Event, None]] = {}

    def take(self, connections: Iterable[Connection]) -> Callable[[], None]:
        """Hold connections until what is returned is called."""
        taken, ended = list(dict.fromkeys(connections)), asyncio.Event()
        for connection in taken:
            self._waiters.setdefault(connection, {})[ended] = None

        def give_back() -> None:
            ended.set()
            for connection in taken:
                self._waiters[connection].pop(ended, None)
                if not self._waiters[connection]:
                    del self._waiters[connection]

        return give_back

    async def none(self, connection: Connection) -> None:
        """Return once nobody means to use it."""
        while connection in self._waiters:
            await next(iter(self._waiters[connection])).wait()


class IdleConnections:
    """Sees connections off. Belongs to one event loop."""

    def __init__(self) -> None:
        self.leases = Leases()
        """Who keeps a connection from being closed."""
        self._going: dict[asyncio.Task[None], Connection] = {}
        self._lingering: dict[HookSpec, asyncio.Task[None]] = {}

    @property
    def connections(self) -> list[Connection]:
        """Those that are not closed yet."""
        return list(self._going.values())

    def retire(self, connection: Connection) -> None:
        """Close it when nobody means to use it any more, and its last stream has ended."""
        self._start(connection, self._retire(connection))

    def linger(self, spec: HookSpec, connection: Connection) -> None:
        """Do so after `LINGER_S`, unless somebody takes it back."""
        self._lingering[spec] = self._start(connection, self._later(spec, connection))

    def take_back(self, spec: HookSpec) -> Connection | None:
        """Give the connection of this spec that lingers, where there is one."""
        task = self._lingering.pop(spec, None)
        if task is None:
            return None
        task.cancel()
        return self._going[task]

    async def close(self) -> None:
        """Close all of them now. Running streams fail."""
        going = dict(self._going)
        for task in going:
            task.cancel()
        await asyncio.gather(*(connection.close() for connection in going.values()))
        if going:
            await asyncio.wait(going)

    def _start(self, connection: Connection, leaving: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(leaving)
        self._going[task] = connection
        task.add_done_callback(self._going.pop)
        return task

    async def _later(self, spec: HookSpec, connection: Connection) -> None:
        await asyncio.sleep(LINGER_S)
        del self._lingering[spec]
        await self._retire(connection)

    async def _retire(self, connection: Connection) -> None:
        await self.leases.none(connection)
        await connection.retire()


SILENCE_S = 3600.0
"""A client that did not call for so long lets go of its handles."""
MOST_OF_CLIENT, MOST_OF_ALL = 256, 2048
"""Connections that one client, and all clients together, may have hooked. Each may hold sockets."""


@dataclass(frozen=True)
class Hook:
    """A connection that somebody asked for."""

    handle: str
    """Random. Empty for a model of the configuration."""
    spec: HookSpec
    connection: Connection

    @cached_property
    def id(self) -> str:
        """provider:name."""
        return self.spec.id

    @cached_property
    def key(self) -> str:
        """What it is called in a decision: a configured model has no handle."""
        return self.handle or self.id

    @cached_property
    def backend(self) -> str:
        """The model at its server, whoever hooked it: places and speed are told by it."""
        return f"{self.id} {self.connection.origin}"

    @property
    def most_running(self) -> int:
        """Prompts that the model gets at once; further ones wait for a slot, and are told so."""
        return self.connection.max_running or MOST_STREAMS


@dataclass(slots=True)
class _Client:
    called_s: float
    handles: dict[str, None] = field(default_factory=dict)
    """In the order of hooking."""


class Registry:
    """Which client holds which connection. Belongs to one event loop; no call here waits for the network."""

    def __init__(
        self,
        providers: Mapping[str, Factory],
        configured_specs: Sequence[HookSpec],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._providers = providers
        self._clock = clock
        self._configured_hooks = [Hook("", spec, providers[spec.provider](spec)) for spec in configured_specs]
        self._is_warm = False
        """Whether somebody asked to keep the ways to these open."""
        self._hooks: dict[str, Hook] = {}
        self._by_spec: dict[HookSpec, Hook] = {}
        self._clients: dict[str, _Client] = {}
        self._leaving = IdleConnections()

    def hook(self, client: str, spec: HookSpec) -> Hook:
        """Give the client the connection of this spec, making it where nobody holds it.

        A prompt is likely to follow: from here on it finds the way to its server open.
        Raises ResourceExhaustedError TOO_MANY_HOOKS.
        """
        self.touch(client)
        hook = self._by_spec.get(spec)
        self._check_room(client, hook)
        hook = hook or self._make(spec)
        hook.connection.keep_warm()
        self._clients.setdefault(client, _Client(self._clock())).handles[hook.handle] = None
        return hook

    def _check_room(self, client: str, hook: Hook | None) -> None:
        held = self._clients[client].handles if client in self._clients else {}
        if hook is not None and hook.handle in held:
            return
        if len(held) >= MOST_OF_CLIENT or (hook is None and len(self._hooks) >= MOST_OF_ALL):
            raise ResourceExhaustedError(
                "TOO_MANY_HOOKS",
                f"A client may have {MOST_OF_CLIENT} models hooked, all clients together {MOST_OF_ALL}. "
                "Unhook those that are not needed any more.",
                limit=str(MOST_OF_CLIENT if len(held) >= MOST_OF_CLIENT else MOST_OF_ALL),
                held=str(len(held)),
            )

    def keep_warm(self) -> None:
        """Keep the way to the models of the configuration open, as hooking does for those of clients."""
        self._is_warm = True
        for hook in self._configured_hooks:
            hook.connection.keep_warm()

    def configure(
        self,
        providers: Mapping[str, Factory],
        configured_specs: Sequence[HookSpec],
        *,
        keep: Callable[[HookSpec], bool],
    ) -> None:
        """Serve these models where none is hooked, from now on; what programs hooked goes on as it is.

        Connections of models that stay the same are kept where `keep` says so. The others close once
        their last stream has ended.
        """
        self._providers = providers
        former = {hook.spec: hook for hook in self._configured_hooks if keep(hook.spec)}
        gone = [
            hook for hook in self._configured_hooks if hook.spec not in set(configured_specs) & former.keys()
        ]
        self._configured_hooks = [
            former.get(spec) or Hook("", spec, providers[spec.provider](spec)) for spec in configured_specs
        ]
        held = {id(hook.connection) for hook in self._hooks.values()}
        for hook in gone:
            if id(hook.connection) not in held:
                self._leaving.retire(hook.connection)
        if self._is_warm:  # else nobody has called yet, and nobody has asked for it
            self.keep_warm()

    def unhook(self, client: str, handle: str) -> None:
        """Let go of one handle of the client's, or of all ("").

        A connection that nobody holds closes when its last stream has ended; one whose last
        client lets go of all it has is kept for `LINGER_S`.
        Raises FailedPreconditionError HANDLE_UNKNOWN.
        """
        self.touch(client)
        held = self._clients[client].handles if client in self._clients else {}
        if handle and handle not in held:
            raise _unknown(handle)
        for gone in [handle] if handle else list(held):
            del held[gone]
        self._forget_unheld(linger=not handle)

    def touch(self, client: str) -> None:
        """Note that the client called, and let go of what silent ones held."""
        self.sweep()
        if client in self._clients:
            self._clients[client].called_s = self._clock()

    def sweep(self) -> None:
        """Forget the clients that were silent for `SILENCE_S`, and those that hold nothing."""
        oldest = self._clock() - SILENCE_S
        silent = [
            name for name, client in self._clients.items() if client.called_s < oldest or not client.handles
        ]
        for name in silent:
            del self._clients[name]
        if silent:
            self._forget_unheld(linger=False)

    def resolve(self, handles: Iterable[str]) -> list[Hook]:
        """Give the hooks of these handles that answer prompts; of none, such models of the configuration.

        Raises FailedPreconditionError HANDLE_UNKNOWN.
        """
        return [hook for hook in self._hooks_of(handles) if not hook.spec.embeds]

    def resolve_embedding(self, handles: Iterable[str]) -> list[Hook]:
        """Give in the same way the hooks that turn texts into vectors."""
        return [hook for hook in self._hooks_of(handles) if hook.spec.embeds]

    def _hooks_of(self, handles: Iterable[str]) -> list[Hook]:
        hooks = [self._hook_of(handle) for handle in dict.fromkeys(handles)]
        return hooks or list(self._configured_hooks)

    def lease(self, hooks: Iterable[Hook]) -> Callable[[], None]:
        """Keep these connections open, whoever lets go of them, until what is returned is called."""
        return self._leaving.leases.take(hook.connection for hook in hooks)

    def hooks_of(self, client: str) -> list[Hook]:
        """List the models of the configuration, then those that the client holds, in the order of hooking."""
        held = self._clients[client].handles if client in self._clients else {}
        return [*self._configured_hooks, *(self._hooks[handle] for handle in held)]

    def everyone(self, client: str) -> list[Hook]:
        """List as `hooks_of`, then what others hooked: each model once at its server, without its handle."""
        mine = self.hooks_of(client)
        others = {hook.backend: replace(hook, handle="") for hook in self._hooks.values()}
        for hook in mine:
            others.pop(hook.backend, None)
        return [*mine, *others.values()]

    def origins(self, location: Location) -> list[str]:
        """List the servers of all models that run there, each once; the embedded model has none."""
        hooks = [*self._configured_hooks, *self._hooks.values()]
        found = (hook.connection.origin for hook in hooks if hook.connection.location is location)
        return list(dict.fromkeys(origin for origin in found if origin))

    def outbound_route_to(self, origin: str) -> OutboundRoute:
        """Return how this server is reached now."""
        found = (one.outbound_route() for one in self._connections() if one.origin == origin)
        return next(found, OutboundRoute())

    async def break_off(self, origin: str) -> None:
        """Break what is open or under way to this server. See `Connection.break_off`."""
        found = [connection for connection in self._connections() if connection.origin == origin]
        await asyncio.gather(*(connection.break_off() for connection in found))

    async def close(self) -> None:
        """Close every connection. Running streams fail."""
        connections = self._connections()
        self._hooks.clear()
        self._by_spec.clear()
        self._clients.clear()
        await self._leaving.close()
        await asyncio.gather(*(connection.close() for connection in connections))

    def _connections(self) -> list[Connection]:
        """List each connection that is not closed, once: hooks can share one."""
        hooks = [*self._configured_hooks, *self._hooks.values()]
        everyone = [*(hook.connection for hook in hooks), *self._leaving.connections]
        return list({id(one): one for one in everyone}.values())

    def _make(self, spec: HookSpec) -> Hook:
        ready = next((hook.connection for hook in self._configured_hooks if hook.spec == spec), None)
        ready = ready or self._leaving.take_back(spec)
        hook = Hook(secrets.token_urlsafe(), spec, ready or self._providers[spec.provider](spec))
        self._hooks[hook.handle] = self._by_spec[spec] = hook
        return hook

    def _hook_of(self, handle: str) -> Hook:
        if handle not in self._hooks:
            raise _unknown(handle)
        return self._hooks[handle]

    def _forget_unheld(self, *, linger: bool) -> None:
        held = {handle for client in self._clients.values() for handle in client.handles}
        for handle in self._hooks.keys() - held:
            hook = self._hooks.pop(handle)
            del self._by_spec[hook.spec]
            self._see_off(hook, linger=linger)

    def _see_off(self, hook: Hook, *, linger: bool) -> None:
        if any(hook.connection is one.connection for one in self._configured_hooks):
            return
        # The embedded model's process takes memory, and there is no way to it that takes time to open.
        if linger and hook.connection.origin:
            self._leaving.linger(hook.spec, hook.connection)
        else:
            self._leaving.retire(hook.connection)


def _unknown(handle: str) -> FailedPreconditionError:
    message = "The daemon does not know this handle, perhaps because it was restarted: hook the model again."
    if ":" in handle:
        message = (
            f"{handle[:100]!r} is the name of a model, not a handle. To pin a model, send its name as "
            "`model` and no candidates; to choose among hooked models, send the handles of HookModel."
        )
    return FailedPreconditionError("HANDLE_UNKNOWN", message, handle=handle)
