"""The network on real sockets: requests first, probes where nothing is fresh, rest where nobody asks."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from support.drivers.waiting import eventually

from oblixd.monitor import Connectivity
from oblixd.monitor.network import Network, Seen, endpoint
from oblixd.monitor.network import endpoint_monitor as watched_module
from oblixd.monitor.network import network as module
from oblixd.monitor.network.endpoint_monitor import NO_WAY
from oblixd.monitor.network.metrics import FEWEST_CONNECTS


@pytest.fixture(autouse=True)
def brisk(monkeypatch):
    """Trouble is looked at again soon."""
    monkeypatch.setattr(endpoint, "BRISK_PAUSE_S", 0.05)


REFUSED = Seen(None, None, "refused")
ANSWERED = Seen(None, 12.0)


class Server:
    """A server on a port of this machine that can go and come back, and counts who visits."""

    def __init__(self):
        self.visits = self.port = 0
        self._server = None

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.port}"

    async def up(self):
        self._server = await asyncio.start_server(self._visited, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self):
        self._server.close()
        await self._server.wait_closed()

    def _visited(self, reader, writer):
        self.visits += 1
        writer.close()


@pytest.fixture
async def server():
    made = Server()
    await made.up()
    yield made
    await made.down()


@asynccontextmanager
async def watching(*origins, check_interval_s=30.0):
    """A network that looks after these origins; the list can be changed meanwhile."""
    names = list(origins)
    network = Network(lambda: names, check_interval_s=check_interval_s)
    network.names = names
    network.changes = []
    network.on_change = lambda: network.changes.append(network.overall().reachable)
    network.start()
    try:
        yield network
    finally:
        await network.close()


async def until(network, reachable):
    """Wait for the state; a reachable one is wanted settled: it is known how fast."""

    def is_so():
        seen = network.overall()
        return seen.reachable is reachable and (not reachable or seen.latency_ms is not None)

    await eventually(is_so)


async def test_without_endpoints_nothing_is_known_but_the_kind_of_connection():
    async with watching() as network:
        seen = network.overall()
        assert (seen.reachable, seen.latency_ms, seen.age_s) == (None, None, None)
        assert seen.connection_type in {"wired", "wireless", "cellular", "vpn", "none", ""}
        assert network.endpoints() == {}


async def test_a_new_endpoint_is_looked_at_a_few_times_and_then_left_alone(server):
    async with watching(server.origin) as network:
        await until(network, True)
        seen = network.endpoints()[server.origin]
        assert 0.0 < seen.latency_ms < 60_000.0
        assert (seen.connection_type, seen.reason) == ("loopback", "")
        assert network.changes == [True]
        network.want()
        await asyncio.sleep(0.2)
        assert server.visits == FEWEST_CONNECTS


async def test_it_is_looked_at_again_when_nothing_is_fresh(server):
    async with watching(server.origin, check_interval_s=0.05):
        await eventually(lambda: server.visits >= 4)


async def test_a_server_that_goes_and_comes_back_is_noticed(server):
    async with watching(server.origin, check_interval_s=0.05) as network:
        await until(network, True)
        await server.down()
        await until(network, False)
        assert network.endpoints()[server.origin].reason == "nothing listens there"
        await server.up()
        await until(network, True)
        assert network.changes == [True, False, True]


async def test_a_real_failure_is_confirmed_at_once(server):
    async with watching(server.origin) as network:
        await until(network, True)
        await server.down()
        network.observe(server.origin, REFUSED)
        assert network.overall().reachable is True
        await until(network, False)
        await server.up()


async def test_a_real_failure_that_nothing_confirms_is_a_hiccup(server):
    async with watching(server.origin) as network:
        await until(network, True)
        visits = server.visits
        network.observe(server.origin, REFUSED)
        await eventually(lambda: server.visits == visits + 1)
        assert network.changes == [True]


async def test_two_real_failures_need_no_probe(server):
    async with watching(server.origin) as network:
        await until(network, True)
        network.observe(server.origin, REFUSED)
        network.observe(server.origin, REFUSED)
        assert network.overall().reachable is False


async def test_a_lost_stream_has_it_looked_at(server):
    async with watching(server.origin) as network:
        await until(network, True)
        # A server hears of a visit after its visitor does. On a busy machine connect times are unusual, and
        # it is looked at again for that, too: more than one visit can come between two looks of ours.
        await eventually(lambda: server.visits >= FEWEST_CONNECTS)
        visits = server.visits
        network.observe(server.origin, Seen(None, 12.0, "lost"))
        await eventually(lambda: server.visits > visits)
        assert network.overall().reachable is True


async def test_an_answer_ends_an_outage_at_once(server):
    async with watching(server.origin) as network:
        await server.down()
        await until(network, False)
        network.observe(server.origin, ANSWERED)
        assert network.overall().reachable is True
        await server.up()


async def test_a_portal_in_the_place_of_a_plain_server_is_not_the_server(server):
    async with watching(server.origin) as network:
        await until(network, True)
        visits = server.visits
        network.observe(server.origin, Seen(3.0, 12.0, "elsewhere"))
        seen = network.overall()
        assert (seen.reachable, "captive portal" in seen.reason) == (False, True)
        await eventually(lambda: server.visits > visits + 1)
        assert network.overall().reachable is False
        network.observe(server.origin, ANSWERED)
        assert network.overall().reachable is True


async def test_real_connect_times_and_transfers_are_told(server):
    async with watching(server.origin) as network:
        for _ in range(FEWEST_CONNECTS):
            network.observe(server.origin, Seen(40.0, 12.0, body_bytes=2_000_000, body_s=1.0))
        seen = network.overall()
        assert (seen.latency_ms, seen.bandwidth_mbps, seen.reachable) == (40.0, 16.0, True)


async def test_the_best_endpoint_speaks_for_the_network(server):
    gone = Server()
    await gone.up()
    await gone.down()
    async with watching(gone.origin, server.origin) as network:
        await eventually(lambda: [one.reachable for one in network.endpoints().values()] == [False, True])
        assert network.overall().reachable is True
        assert network.overall().latency_ms == network.endpoints()[server.origin].latency_ms


async def test_endpoints_that_are_not_named_are_not_watched(server):
    async with watching() as network:
        network.observe(server.origin, REFUSED)
        assert network.endpoints() == {}


async def test_endpoints_come_and_go_with_who_holds_them(server):
    async with watching(check_interval_s=0.05) as network:
        network.names.append(server.origin)
        network.want()
        await until(network, True)
        network.names.clear()
        await eventually(lambda: not network.endpoints())
        visits = server.visits
        network.want()
        await asyncio.sleep(0.1)
        assert server.visits <= visits + 1


async def test_there_is_a_bound_to_how_many_are_looked_after(monkeypatch):
    monkeypatch.setattr(module, "MOST_ENDPOINTS", 2)
    async with watching(*(f"http://127.0.0.1:{port}" for port in range(1, 6))) as network:
        network.observe("http://127.0.0.1:1", ANSWERED)
        assert len(network.endpoints()) == 2


async def test_nobody_is_visited_while_nobody_uses_the_daemon(server, monkeypatch):
    monkeypatch.setattr(module, "USED_S", 0.0)
    async with watching(server.origin, check_interval_s=0.05) as network:
        await eventually(lambda: server.visits == 1)
        await asyncio.sleep(0.3)
        assert server.visits == 1
        monkeypatch.setattr(module, "USED_S", 300.0)
        network.want()
        await eventually(lambda: server.visits > 2)


async def test_measurements_are_dropped_after_a_suspend(server, monkeypatch):
    async with watching(server.origin) as network:
        await until(network, True)
        asleep_s = watched_module.clock_s() + 60.0
        for where in (module, watched_module):
            monkeypatch.setattr(where, "clock_s", lambda: asleep_s)
        # The server counts a visit after the client has its connection: not visits, but what came of them.
        await eventually(lambda: network.changes == [True, None, True])


async def test_without_a_way_it_is_unreachable_at_once_and_nobody_is_asked(server, monkeypatch):
    monkeypatch.setattr(watched_module, "route_to", lambda _addresses: None)
    async with watching(server.origin) as network:
        await until(network, False)
        assert network.overall().reason == NO_WAY
        assert server.visits == 0
        monkeypatch.undo()
        network._network_changed()
        await until(network, True)


async def test_an_unknown_endpoint_is_better_than_an_unreachable_one():
    silent = Connectivity()
    lost = Connectivity(reachable=False)
    slow, fast = Connectivity(reachable=True, latency_ms=300.0), Connectivity(reachable=True, latency_ms=20.0)
    assert sorted([lost, slow, silent, fast], key=module._badness) == [fast, slow, silent, lost]
