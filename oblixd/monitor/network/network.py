"""How well each cloud endpoint is reached: first what real requests show, probes where nothing is fresh."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace

from oblixd import background
from oblixd.monitor.network.dns_cache import DnsCache
from oblixd.monitor.network.endpoint_monitor import EndpointMonitor, Seen, clock_s
from oblixd.monitor.network.link_events import LinkEvents
from oblixd.monitor.network.probe import Prober, Target
from oblixd.monitor.network.routes import ANYWHERE, Route, route_to
from oblixd.monitor.snapshot import Connectivity

CHECK_INTERVAL_S = 30.0
USED_S = 300.0
"""So long after the last use of the daemon nothing is probed any more."""
TICK_S, RARE_TICK_S = 1.0, 5.0
"""So often `origins` is asked: while it is used, and when it was not used for `RECENT_S`."""
RECENT_S = 30.0
SHORTEST_PAUSE_S = 0.05
GAP_S = 10.0
"""Who overslept by so much was suspended with the machine: nothing of before counts."""
MOST_ENDPOINTS = 64
"""Endpoints that are looked after; of more nothing is known."""

logger = logging.getLogger(__name__)


def _none() -> Collection[str]:
    return ()


def _nothing() -> None:
    return


def _unheard(_origin: str) -> None:
    return


async def _nowhere(_origin: str) -> None:
    return


class Network:
    """Looks after the endpoints that `origins` names. Belongs to one event loop; reading it measures nothing.

    It rests, and sends nothing, where there are none, and when nobody said
    `want` for five minutes. `target_of` says what is looked at for an origin: the
    server itself, or the proxy before it. `on_change` is called when one becomes reachable,
    unreachable or unknown; `on_back` with the origin of one that becomes reachable;
    `on_left` with that of one whose connections are lost, because the route that they
    took has been gone for three seconds.
    """

    def __init__(
        self,
        origins: Callable[[], Collection[str]] = _none,
        *,
        target_of: Callable[[str], Target] = Target.of,
        check_interval_s: float = CHECK_INTERVAL_S,
    ) -> None:
        self.on_change: Callable[[], None] = _nothing
        self.on_back: Callable[[str], None] = _unheard
        self.on_route_lost: Callable[[str], Awaitable[None]] = _nowhere
        self._origins = origins
        self._target_of = target_of
        self._check_interval_s = check_interval_s
        self._prober = Prober(DnsCache())
        self._monitors: dict[str, EndpointMonitor] = {}
        self._letting_go: set[asyncio.Task[None]] = set()
        self._links = LinkEvents(self._network_changed)
        self._default_route: Route | None = None
        # A start is no use yet: the endpoints are looked after for the first prompt, and `want` wakes it.
        self._wanted_s = clock_s() - RECENT_S
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen for changes of the network, and to probe where it is due."""
        self._links.start()
        self._default_route = route_to(ANYWHERE)
        self._task = background.begin(self._run(), "network")

    async def close(self) -> None:
        """Stop listening and probing."""
        self._links.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        closing = [one.close() for one in self._monitors.values()]
        await asyncio.gather(*closing, *self._letting_go)

    def begin_anew(self) -> None:
        """Forget all: the configuration leads to the servers by another route."""
        for origin in list(self._monitors):
            self._let_go(origin)
        self._follow()

    def want(self) -> None:
        """Say that somebody uses the daemon: what they will ask for is kept fresh for a while."""
        self._wanted_s = clock_s()
        self._wake.set()

    def observe(self, origin: str, observation: Seen) -> None:
        """Take what a real request just experienced. Of an endpoint that nobody named it is ignored."""
        if origin not in self._monitors:
            self._follow()
        if (one := self._monitors.get(origin)) is not None:
            one.observe(observation)

    def endpoints(self) -> Mapping[str, Connectivity]:
        """Return what is known of each endpoint now, by origin."""
        return {origin: one.view() for origin, one in self._monitors.items()}

    def overall(self) -> Connectivity:
        """Return the best endpoint's values: while one cloud model is reached well, the network is well.

        Its connection type is that of the default route, also where there is no endpoint. Without such a
        route it is that of the route to the best endpoint.
        """
        best = min(self.endpoints().values(), key=_badness, default=Connectivity())
        kind = self._default_route.kind if self._default_route else best.connection_type or "none"
        return replace(best, connection_type=kind)

    async def _run(self) -> None:
        while True:
            self._follow()
            for one in self._monitors.values():
                one.probe_if_due()
            await self._pause()

    async def _pause(self) -> None:
        self._wake.clear()
        if not self._is_used(USED_S):
            await self._wake.wait()
            return
        before_s = clock_s()
        due_s = min((one.endpoint.due_s() for one in self._monitors.values()), default=math.inf)
        pause_s = max(due_s - before_s, SHORTEST_PAUSE_S)
        if self._is_used(RECENT_S):
            await asyncio.sleep(min(pause_s, TICK_S))
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(pause_s, background.until_tick_s(RARE_TICK_S))):
                    await self._wake.wait()
        if clock_s() - before_s > RARE_TICK_S + GAP_S:
            logger.info("the machine slept: the network is looked at anew")
            for one in self._monitors.values():
                one.forget()

    def _is_used(self, within_s: float) -> bool:
        return clock_s() - self._wanted_s < within_s

    def _follow(self) -> None:
        """Begin with the endpoints that are new, and let go of those that nobody holds any more."""
        wanted = list(dict.fromkeys(self._origins()))[:MOST_ENDPOINTS]
        if wanted == list(self._monitors):
            return
        for origin in self._monitors.keys() - set(wanted):
            self._let_go(origin)
        self._monitors = {
            origin: self._monitors.get(origin) or self._make_endpoint(origin) for origin in wanted
        }
        self._prober.names.keep({one.target.host for one in self._monitors.values()})

    def _let_go(self, origin: str) -> None:
        task = asyncio.create_task(self._monitors.pop(origin).close())
        self._letting_go.add(task)
        task.add_done_callback(self._letting_go.discard)

    def _make_endpoint(self, origin: str) -> EndpointMonitor:
        one = EndpointMonitor(
            origin,
            self._target_of(origin),
            self._prober,
            check_interval_s=self._check_interval_s,
            on_change=self._changed,
            on_left=self._left,
        )
        one.check_route()
        return one

    def _network_changed(self) -> None:
        self._default_route = route_to(ANYWHERE)
        for one in self._monitors.values():
            before = one.endpoint.route
            one.check_route()
            if self._is_used(USED_S) and one.endpoint.reachable is not True:
                one.probe(anew=one.endpoint.route is not before)

    async def _left(self, one: EndpointMonitor) -> None:
        logger.info("%s: its connections are given up, their route is gone", one.origin)
        await self.on_route_lost(one.origin)

    def _changed(self, one: EndpointMonitor) -> None:
        match one.endpoint.reachable:
            case True:
                logger.info("%s is reached", one.origin)
                self.on_back(one.origin)
            case False:
                logger.info("%s can't be reached: %s", one.origin, one.endpoint.reason)
            case None:
                logger.info("%s: nothing is known of the route there", one.origin)
        self.on_change()


def _badness(connectivity: Connectivity) -> tuple[int, float, float]:
    latency_ms = math.inf if connectivity.latency_ms is None else connectivity.latency_ms
    return (
        (True, None, False).index(connectivity.reachable),
        connectivity.packet_loss_percent or 0.0,
        latency_ms,
    )
