"""When an endpoint counts as reachable: every line of the table at the top of `reach.py`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblixd.monitor.network.reachability import (
    ANSWER_HOLD_S,
    BARRED_S,
    FLAPPING_S,
    MISSES,
    MOST_HITS,
    Reachability,
)


def failing(reach: Reachability, *times: float, is_real: bool = False) -> Reachability:
    for now_s in times:
        reach.failed(now_s, "nothing listens there", is_real=is_real)
    return reach


def connecting(reach: Reachability, *times: float) -> Reachability:
    for now_s in times:
        reach.connected(now_s)
    return reach


def make_flapping(times: int) -> Reachability:
    """One that was lost so often, the last time just now, at 0 s."""
    reach = Reachability()
    for number in range(times):
        failing(connecting(reach, *[-10.0 - number] * MOST_HITS), -1.0, 0.0)
    return reach


def test_nothing_is_known_at_first():
    assert (Reachability().reachable, Reachability().reason, Reachability().since_s) == (None, "", None)


def test_one_connection_is_enough_to_be_reachable():
    assert connecting(Reachability(), 1.0).reachable is True


@pytest.mark.parametrize("before", [(), (0.0,)])
def test_one_failure_is_a_hiccup_and_leaves_a_doubt(before):
    reach = connecting(Reachability(), *before)
    known = reach.reachable
    failing(reach, 1.0)
    assert (reach.reachable, reach.is_in_doubt) == (known, True)
    connecting(reach, 1.1)
    assert (reach.reachable, reach.is_in_doubt) == (True, False)


@pytest.mark.parametrize("is_real", [True, False])
def test_two_failures_in_a_row_are_not(is_real):
    reach = failing(connecting(Reachability(), 0.0), 1.0, 1.1, is_real=is_real)
    assert (reach.reachable, reach.reason, reach.is_in_doubt) == (False, "nothing listens there", False)


def test_a_real_failure_and_a_probe_confirm_each_other():
    reach = failing(connecting(Reachability(), 0.0), 1.0, is_real=True)
    assert failing(reach, 1.1).reachable is False


def test_a_real_answer_outranks_failing_probes_for_a_while():
    reach = Reachability()
    reach.answered(0.0)
    assert failing(reach, 1.0, 2.0, 3.0).reachable is True
    assert failing(reach, ANSWER_HOLD_S).reachable is False


def test_real_failures_outrank_an_answer_of_before():
    reach = Reachability()
    reach.answered(0.0)
    assert failing(reach, 1.0, 1.1, is_real=True).reachable is False


def test_no_way_there_is_known_at_once_even_after_an_answer():
    reach = Reachability()
    reach.answered(0.0)
    reach.cut(0.1, "no network")
    assert (reach.reachable, reach.reason) == (False, "no network")


def test_a_portal_outranks_probes_that_connect_well():
    reach = connecting(Reachability(), 0.0)
    reach.barred(1.0, "a portal")
    assert connecting(reach, 2.0, 3.0).reachable is False
    assert connecting(reach, 1.0 + BARRED_S).reachable is True


def test_a_real_answer_ends_everything():
    reach = make_flapping(MOST_HITS)
    reach.barred(1.0, "a portal")
    reach.answered(2.0)
    assert (reach.reachable, reach.reason) == (True, "")


@pytest.mark.parametrize(("lost", "needed"), [(1, 1), (2, 2), (3, 3), (9, MOST_HITS)])
def test_an_endpoint_that_is_lost_repeatedly_must_stay_reachable_longer(lost, needed):
    reach = make_flapping(lost)
    assert connecting(reach, *[1.0] * (needed - 1)).reachable is False
    assert connecting(reach, 1.0).reachable is True


def test_losses_are_forgiven():
    assert connecting(make_flapping(MOST_HITS), FLAPPING_S + 1.0).reachable is True


def test_forgetting_knows_nothing_but_how_often_it_was_lost():
    reach = make_flapping(3)
    reach.forget()
    assert (reach.reachable, reach.reason, reach.since_s) == (None, "", None)
    assert connecting(reach, 1.0, 1.1).reachable is None
    assert connecting(reach, 1.2).reachable is True


def test_since_when_moves_with_the_state_only():
    reach = connecting(Reachability(), 0.0)
    since_s = reach.since_s
    assert connecting(reach, 1.0).since_s == since_s
    assert failing(reach, 2.0, 2.1).since_s >= since_s


EVENTS = st.lists(
    st.tuples(st.sampled_from(["connected", "failed", "real failure", "answered"]), st.floats(0.0, 40.0))
)


def feed_events(events) -> Reachability:
    reach, now_s = Reachability(), 0.0
    for what, pause_s in events:
        now_s += pause_s
        match what:
            case "connected":
                reach.connected(now_s)
            case "answered":
                reach.answered(now_s)
            case _:
                reach.failed(now_s, "why", is_real=what == "real failure")
    return reach


@given(EVENTS)
def test_only_failures_in_a_row_make_it_unreachable(events):
    reach = feed_events(events)
    was = reach.reachable
    reach.connected(1e6)
    reach.failed(1e6, "why", is_real=False)
    assert reach.reachable is True
    assert was is not None or len(events) < MISSES or all(what != "answered" for what, _ in events)


@given(EVENTS)
def test_a_reason_is_there_exactly_where_it_is_unreachable(events):
    reach = feed_events(events)
    assert bool(reach.reason) == (reach.reachable is False)
    assert (reach.since_s is None) == (reach.reachable is None)
