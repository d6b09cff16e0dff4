"""When an endpoint is looked at again, and when what is known of it is too old to be told."""

from __future__ import annotations

import math

import pytest

from oblixd.monitor import Connectivity
from oblixd.monitor.network.endpoint import (
    BRISK_PROBES,
    CALM_CONNECTS,
    SPREAD,
    STALE_S,
    Endpoint,
)
from oblixd.monitor.network.metrics import ATTEMPTS, FEWEST_CONNECTS
from oblixd.monitor.network.routes import Route

INTERVAL_S = 30.0
ROUTE = Route("", "192.0.2.7")


@pytest.fixture
def endpoint():
    made = Endpoint(INTERVAL_S)
    made.forget(ROUTE)
    return made


@pytest.fixture
def settled_endpoint(endpoint):
    """One that was connected to as often as it takes, the last time at 0 s."""
    for _ in range(FEWEST_CONNECTS):
        endpoint.connected(0.0, 20.0)
    return endpoint


def pause_s(endpoint, now_s):
    return endpoint.due_s() - now_s


def about(seconds):
    return pytest.approx(seconds, rel=SPREAD)


def test_nothing_was_heard_so_it_is_due_at_once(endpoint):
    assert endpoint.due_s() == -math.inf
    assert endpoint.view(0.0) == Connectivity()


def test_a_few_looks_make_the_acquaintance_then_it_waits_for_the_check_interval(endpoint):
    for _ in range(FEWEST_CONNECTS - 1):
        endpoint.connected(10.0, 20.0)
        assert pause_s(endpoint, 10.0) == about(1.0)
        assert endpoint.view(10.0).latency_ms is None
    endpoint.connected(10.0, 20.0)
    assert pause_s(endpoint, 10.0) == about(INTERVAL_S)
    assert endpoint.view(10.0).latency_ms == 20.0


def test_kept_connections_show_no_connect_time_so_they_save_no_probe(settled_endpoint):
    for now_s in range(1, 29):
        settled_endpoint.answered(now_s, 300.0)
    assert pause_s(settled_endpoint, 0.0) == about(INTERVAL_S)
    assert settled_endpoint.view(28.0).age_s == 0.0


def test_an_answer_that_comes_late_is_reason_for_a_look(settled_endpoint):
    for now_s in (1.0, 2.0, 3.0):
        settled_endpoint.answered(now_s, 200.0)
    settled_endpoint.answered(4.0, 700.0)
    assert pause_s(settled_endpoint, 0.0) == about(1.0)
    settled_endpoint.connected(4.1, 21.0)
    assert pause_s(settled_endpoint, 4.1) == about(INTERVAL_S)


@pytest.mark.parametrize("waits", [[200.0, 390.0], [20.0, 110.0], [700.0]])
def test_an_answer_that_comes_a_little_later_is_not(settled_endpoint, waits):
    for number, wait_ms in enumerate(waits):
        settled_endpoint.answered(1.0 + number, wait_ms)
    assert pause_s(settled_endpoint, 0.0) == about(INTERVAL_S)


def test_trouble_is_looked_at_again_soon_then_ever_later(endpoint):
    for wait_s in (*[1.0] * BRISK_PROBES, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        endpoint.failed(10.0, "nothing listens there")
        assert pause_s(endpoint, 10.0) == about(wait_s)
    for _ in range(5000):
        endpoint.failed(10.0, "nothing listens there")
    assert pause_s(endpoint, 10.0) == about(INTERVAL_S)


def test_an_unusual_connect_time_is_looked_at_again_soon(endpoint):
    for _ in range(5):
        endpoint.connected(10.0, 20.0)
    endpoint.connected(10.0, 420.0)
    assert pause_s(endpoint, 10.0) == about(1.0)
    for _ in range(CALM_CONNECTS + 2):
        assert pause_s(endpoint, 10.0) == about(1.0)
        endpoint.connected(10.0, 420.0)
    assert endpoint.view(10.0).latency_ms == 420.0
    assert pause_s(endpoint, 10.0) == about(INTERVAL_S)


def test_a_lossy_line_is_looked_at_until_it_has_calmed(endpoint):
    for _ in range(10):
        endpoint.connected(10.0, 20.0)
    for _ in range(3):
        endpoint.failed(10.0, "lost")
        endpoint.connected(10.0, 20.0)
    assert endpoint.view(10.0).packet_loss_percent == 30.0
    looks = 0
    while pause_s(endpoint, 10.0) < 20.0:
        endpoint.connected(10.0, 20.0)
        looks += 1
    assert looks == 7
    assert endpoint.view(10.0).packet_loss_percent == 10.0


def test_requests_do_not_put_off_the_looks_that_trouble_asks_for(endpoint):
    endpoint.failed(10.0, "lost")
    endpoint.answered(10.9, 20.0)
    assert pause_s(endpoint, 10.0) == about(1.0)


def test_an_outage_that_is_over_is_not_told_as_loss(endpoint):
    for _ in range(ATTEMPTS):
        endpoint.failed(10.0, "nothing listens there")
    assert endpoint.view(10.0).packet_loss_percent == 100.0
    endpoint.connected(11.0, 20.0)
    seen = endpoint.view(11.0)
    assert (seen.reachable, seen.packet_loss_percent) == (True, None)


def test_the_view_tells_numbers_and_their_age(endpoint):
    for now_s, connect_ms in ((9.0, 25.0), (10.0, 20.0), (11.0, 35.0)):
        endpoint.connected(now_s, connect_ms)
    seen = endpoint.view(14.0)
    assert (seen.reachable, seen.latency_ms, seen.jitter_ms, seen.age_s) == (True, 25.0, 10.0, 3.0)
    assert (seen.packet_loss_percent, seen.bandwidth_mbps, seen.reason) == (None, None, "")
    assert seen.since_s is not None


@pytest.mark.parametrize("reachable", [True, False])
def test_a_stale_measurement_is_unknown(endpoint, reachable):
    for _ in range(2):
        if reachable:
            endpoint.connected(0.0, 900.0)
        else:
            endpoint.failed(0.0, "nothing listens there")
    assert endpoint.view(STALE_S).reachable is reachable
    assert endpoint.view(STALE_S + 1.0) == Connectivity()


def test_a_missing_way_is_never_stale_because_the_system_would_tell(endpoint):
    endpoint.cut(0.0, "no network")
    seen = endpoint.view(1e6)
    assert (seen.reachable, seen.reason, seen.connection_type) == (False, "no network", "none")


def test_another_way_is_another_network(endpoint):
    endpoint.connected(0.0, 900.0)
    endpoint.forget(Route("", "192.0.2.8"))
    assert endpoint.view(0.0) == Connectivity()
    assert endpoint.due_s() == -math.inf


def test_long_trouble_that_fades_is_soon_known_to_be_over(endpoint):
    for _ in range(50):
        endpoint.failed(10.0, "lost")
        endpoint.connected(10.0, 20.0)
    assert pause_s(endpoint, 10.0) == about(INTERVAL_S)
    for _ in range(CALM_CONNECTS - 1):
        endpoint.connected(10.0, 20.0)
    assert endpoint.view(10.0).packet_loss_percent > 10.0
    assert pause_s(endpoint, 10.0) == about(1.0)
