"""One endpoint that is watched: evidence of requests and of probes comes together here."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from oblixd import background
from oblixd.monitor.network.endpoint import Endpoint
from oblixd.monitor.network.probe import ProbeError, Prober, Target
from oblixd.monitor.network.routes import ANYWHERE, Route, route_to
from oblixd.monitor.snapshot import Connectivity

LEFT_S = 3.0
"""A route that is gone for so long will not come back in time for what was under way on it."""
NO_WAY = "this machine has no network connection that leads there"
UNCONNECTED = {
    "refused": "nothing listens there",
    "dns": "its name could not be looked up",
    "tls": "its certificate is not valid for it, or TLS failed: a captive portal or a proxy",
    "connect_timeout": "no connection came about in time",
    "unreachable": "no connection came about",
}
"""The failures of requests that did not reach their server."""
BARRED = {
    "elsewhere": "something else answers in its place, as a captive portal does",
    "garbled": "what answers there does not speak HTTP",
}
"""The failures of requests that reached somebody else. Over https nobody else can pose as the server."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a real request, or the opening of a connection for one, experienced."""

    connect_ms: float | None
    """What opening a connection took, TLS included. None: a kept one was used, or none came about."""
    first_byte_ms: float | None
    """From the request to the head of its answer. None: none came."""
    failure: str = ""
    """A key of `UNCONNECTED` or `BARRED`, or what else went wrong with the server. Empty: nothing."""
    body_bytes: int = 0
    """Of a body that came as fast as the network carried it. 0 where it came as it was written."""
    body_s: float = 0.0
    address: str = ""
    """The IP address that was reached. Empty: not known."""


def clock_s() -> float:
    """Seconds that never go back and, where the system has such a clock, count while it is suspended."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class EndpointMonitor:
    """Belongs to one event loop. Calls `on_change` when it becomes reachable, unreachable or unknown."""

    def __init__(
        self,
        origin: str,
        target: Target,
        prober: Prober,
        *,
        check_interval_s: float,
        on_change: Callable[[EndpointMonitor], None],
        on_left: Callable[[EndpointMonitor], Awaitable[None]],
    ) -> None:
        self.origin = origin
        self.target = target
        self.endpoint = Endpoint(check_interval_s)
        self._prober = prober
        self._on_change = on_change
        self._on_route_lost = on_left
        self._leaving: asyncio.Task[None] | None = None
        self._probing: asyncio.Task[None] | None = None
        self._proven: list[str] = []

    def view(self) -> Connectivity:
        """Return what is known now."""
        return self.endpoint.view(clock_s())

    def observe(self, observation: Seen) -> None:
        """Take what a real request experienced, and probe where it failed."""
        if observation.address:
            self._prove(observation.address)
        with self._report_change():
            self._take(clock_s(), observation)
        if observation.failure:
            self.probe()

    def check_route(self) -> bool:
        """Ask the system for the route there. Gives whether there is one; of a new one nothing is known."""
        addresses = self._addresses()
        before, route = self.endpoint.route, route_to(addresses or ANYWHERE)
        if route is None and not addresses:
            # A name that nobody looked up may lead where there is a route, though there is none to anywhere.
            return True
        if before is not None and route != before:
            self._leave(before)
        with self._report_change():
            if route is None:
                self.endpoint.cut(clock_s(), NO_WAY)
            elif route != self.endpoint.route:
                self.endpoint.forget(route)
        return route is not None

    def _addresses(self) -> list[str]:
        """Return its IP addresses: the one that a request reached first, then those of its name."""
        known = self._prober.names.known_addresses(self.target.host)
        return list(dict.fromkeys([*self._proven, *known]))

    def _prove(self, address: str) -> None:
        """Remember an address that was just reached, and the route there."""
        if self._proven == [address]:
            return
        self._proven = [address]
        route = route_to(self._proven)
        if route is not None and route != self.endpoint.route:
            with self._report_change():
                self.endpoint.forget(route)

    def forget(self) -> None:
        """Begin anew on the same route."""
        self._proven = []
        with self._report_change():
            self.endpoint.forget(self.endpoint.route)

    def probe_if_due(self) -> None:
        """Probe where it is time for that."""
        if self.endpoint.due_s() <= clock_s():
            self.probe()

    def probe(self, *, anew: bool = False) -> None:
        """Probe now. A probe that is going on is enough, but for `anew`: it takes another route."""
        if anew and self._probing is not None:
            self._probing.cancel()
        elif self._probing is not None and not self._probing.done():
            return
        self._probing = background.begin(self._probe(), f"probe of {self.origin}")

    async def close(self) -> None:
        """Stop looking."""
        tasks = [task for task in (self._probing, self._leaving) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _leave(self, route: Route) -> None:
        """Tell that what goes by that route is lost, unless it comes back soon."""
        if self._leaving is None or self._leaving.done():
            self._leaving = background.begin(self._left(route), f"leave {route.interface}")

    async def _left(self, route: Route) -> None:
        await asyncio.sleep(LEFT_S)
        if self.endpoint.route != route:
            await self._on_route_lost(self)

    async def _probe(self) -> None:
        if not self.check_route():
            await self._probe_elsewhere()
        while self.check_route():
            await self._attempt()
            # One failure is confirmed by a second attempt at once.
            if not self.endpoint.is_in_doubt:
                return

    async def _probe_elsewhere(self) -> None:
        """Look its name up anew, where no route leads to the addresses that it had.

        So a VPN that comes up brings other addresses for the same names.
        """
        self._proven = []
        await self._prober.look_up_anew(self.target)

    async def _attempt(self) -> None:
        route = self.endpoint.route
        try:
            took_ms = await self._prober.probe(self.target)
        except ProbeError as error:
            # What was found on a route that is left says nothing of the new one.
            if self.endpoint.route is route:
                with self._report_change():
                    self.endpoint.failed(clock_s(), str(error))
        else:
            if self.endpoint.route is route:
                with self._report_change():
                    self.endpoint.connected(clock_s(), took_ms)

    def _take(self, now_s: float, observation: Seen) -> None:
        if observation.failure in UNCONNECTED:
            self.endpoint.failed(now_s, UNCONNECTED[observation.failure], is_real=True)
            return
        if observation.connect_ms is not None:
            self.endpoint.connected(now_s, observation.connect_ms)
        if observation.failure in BARRED and not self.target.is_tls:
            self.endpoint.barred(now_s, BARRED[observation.failure])
        elif not observation.failure and observation.first_byte_ms is not None:
            self.endpoint.answered(now_s, observation.first_byte_ms)
        self.endpoint.carried(now_s, observation.body_bytes, observation.body_s)

    @contextlib.contextmanager
    def _report_change(self) -> Iterator[None]:
        before = self.endpoint.reachable
        yield
        if self.endpoint.reachable is not before:
            self._on_change(self)
