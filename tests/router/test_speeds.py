"""What is learned of how fast models answer."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblixd.router.speeds import EXPIRY_S, MODELS, Speeds


def test_a_line_over_the_prompts_length_is_found():
    speeds = Speeds()
    for tokens in (100, 1000, 4000, 200):
        speeds.record("m", tokens, 0.5 + tokens * 0.002, 50.0)
    assert speeds.estimate("m", 2000, 100) == pytest.approx(0.5 + 4.0 + 2.0)
    assert speeds.tokens_per_second("m") == pytest.approx(50.0)


def test_prompts_of_one_length_give_their_mean():
    speeds = Speeds()
    speeds.record("m", 100, 1.0, 10.0)
    speeds.record("m", 100, 2.0, 10.0)
    assert speeds.estimate("m", 10_000, 0) == pytest.approx((1.0 * 0.8 + 2.0) / 1.8)


def test_the_latest_answers_count_most():
    speeds = Speeds()
    for _ in range(20):
        speeds.record("m", 100, 10.0, 5.0)
    for _ in range(10):
        speeds.record("m", 100, 1.0, 100.0)
    assert speeds.estimate("m", 100, 100) < 5.0


def test_an_answer_whose_speed_is_not_known_still_tells_when_it_began():
    speeds = Speeds()
    speeds.record("m", 100, 1.5, None)
    assert speeds.estimate("m", 100, 1000) == 1.5
    assert speeds.tokens_per_second("m") is None


def test_a_model_that_did_not_answer_for_an_hour_is_unknown_again():
    now = [1000.0]
    speeds = Speeds(lambda: now[0])
    assert speeds.estimate("m", 100, 100) is None
    speeds.record("m", 100, 1.0, 10.0)
    now[0] += EXPIRY_S + 1
    assert speeds.estimate("m", 100, 100) is None
    speeds.record("m", 100, 9.0, 10.0)
    assert speeds.estimate("m", 100, 0) == 9.0


def test_so_many_models_are_remembered():
    speeds = Speeds()
    for number in range(MODELS + 1):
        speeds.record(f"m{number}", 100, 1.0, 10.0)
    assert (speeds.estimate("m0", 1, 1), speeds.estimate("m1", 1, 1)) == (None, pytest.approx(1.1))


@given(
    st.lists(st.tuples(st.floats(), st.floats(), st.none() | st.floats(0, 1e6)), max_size=10),
    st.integers(0, 10**6),
)
def test_any_answers_give_an_estimate_in_seconds(answers, tokens):
    speeds = Speeds()
    for answer in answers:
        speeds.record("m", *answer)
    estimate = speeds.estimate("m", tokens, 500)
    assert estimate is None or (math.isfinite(estimate) and estimate >= 0)
