"""Latency, jitter, loss and bandwidth, and when they are not known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblixd.monitor.network.metrics import (
    ATTEMPTS,
    BULK_BYTES,
    CONNECTS,
    FEWEST_CONNECTS,
    WINDOW_S,
    NetworkMetrics,
)

NOW = 1000.0


def of(*connect_ms: float | None) -> NetworkMetrics:
    """The figures after these attempts, one a second, the last one now."""
    figures = NetworkMetrics()
    for number, ms in enumerate(connect_ms, 1):
        figures.attempted(NOW + number - len(connect_ms), ms)
    return figures


def test_nothing_is_known_at_first():
    figures = NetworkMetrics()
    assert figures.latency_ms(NOW) is figures.jitter_ms(NOW) is figures.loss_percent(NOW) is None
    assert figures.bandwidth_mbps(NOW) is None


def test_latency_is_the_median_of_the_last_connect_times():
    assert of(900.0, 10.0, 30.0, None, 20.0, 40.0, 50.0).latency_ms(NOW) == 30.0


def test_a_single_outlier_does_not_move_it():
    assert of(20.0, 21.0, 22.0, 900.0).latency_ms(NOW) < 25.0


def test_three_that_agree_do():
    assert of(20.0, 20.0, 20.0, 20.0, 20.0, 420.0, 420.0, 420.0).latency_ms(NOW) == 420.0


def test_jitter_is_the_mean_difference_between_neighbours():
    assert of(10.0, 30.0, 20.0).jitter_ms(NOW) == 15.0


def test_two_connect_times_tell_nothing():
    assert of(10.0, 20.0).jitter_ms(NOW) is of(10.0, 20.0).latency_ms(NOW) is None


def test_loss_is_the_share_of_failed_attempts():
    assert of(*[1.0] * 7, *[None] * 3).loss_percent(NOW) == 30.0
    assert of(*[None] * ATTEMPTS, *[1.0] * ATTEMPTS).loss_percent(NOW) == 0.0


def test_few_attempts_tell_no_loss_and_one_hiccup_stays_within_the_default_threshold():
    assert of(None, *[1.0] * (ATTEMPTS - 2)).loss_percent(NOW) is None
    assert of(None, *[1.0] * (ATTEMPTS - 1)).loss_percent(NOW) <= 10.0


def test_an_outage_that_is_over_is_no_loss():
    figures = of(*[20.0] * 3, *[None] * 7)
    figures.forgive()
    assert (figures.loss_percent(NOW), figures.latency_ms(NOW)) == (None, 20.0)


def test_measurements_older_than_the_window_do_not_count():
    figures = of(*[10.0] * ATTEMPTS)
    figures.carried(NOW, BULK_BYTES, 1.0)
    later = NOW + WINDOW_S + 1.0
    assert figures.latency_ms(later) is figures.loss_percent(later) is figures.bandwidth_mbps(later) is None


def test_bandwidth_is_the_best_rate_of_bulk_transfers():
    figures = NetworkMetrics()
    figures.carried(NOW, 10 * BULK_BYTES, 4.0)
    figures.carried(NOW, BULK_BYTES, 4.0)
    assert figures.bandwidth_mbps(NOW) == pytest.approx(20.0)


@pytest.mark.parametrize(("size", "seconds"), [(BULK_BYTES - 1, 1.0), (BULK_BYTES, 0.0), (0, 0.0)])
def test_transfers_too_small_to_measure_are_ignored(size, seconds):
    figures = NetworkMetrics()
    figures.carried(NOW, size, seconds)
    assert figures.bandwidth_mbps(NOW) is None


@pytest.mark.parametrize(
    ("ms", "is_usual"), [(20.0, True), (39.0, True), (10.0, True), (45.0, False), (1000.0, False)]
)
def test_a_time_is_usual_near_the_median(ms, is_usual):
    assert of(20.0, 20.0, 20.0).is_usual(NOW, ms) is is_usual
    assert NetworkMetrics().is_usual(NOW, ms)


@given(st.lists(st.none() | st.floats(0.1, 1e5)))
def test_the_numbers_stay_within_what_was_seen(attempts):
    figures = of(*attempts)
    seen = [ms for ms in attempts[-ATTEMPTS:] if ms is not None][-CONNECTS:]
    latency, loss = figures.latency_ms(NOW), figures.loss_percent(NOW)
    assert (latency is None) == (len(seen) < FEWEST_CONNECTS)
    assert latency is None or min(seen) <= latency <= max(seen)
    assert loss is None or 0.0 <= loss <= 100.0
