"""Retry and cooldown, each by itself."""

from __future__ import annotations

import pytest

from oblixd.execution.retry import FIRST_WAIT_S, RetryBudget
from oblixd.models.base import ModelError, ModelErrorKind
from oblixd.router.cooldown import COOLDOWN_S, FAILURES, MAX_COOLDOWN_S, WINDOW_S, Cooldowns


def failure(
    kind: ModelErrorKind = ModelErrorKind.OVERLOADED, retry_after_s: float | None = None
) -> ModelError:
    return ModelError(kind, "It failed.", retry_after_s=retry_after_s)


@pytest.mark.parametrize("tried", [1, 2])
def test_waits_double_and_are_jittered(tried: int) -> None:
    waits = {RetryBudget().wait_before(failure(), tried) for _ in range(50)}
    assert len(waits) > 1
    assert all(0 <= wait <= FIRST_WAIT_S * 2 ** (tried - 1) for wait in waits)


def test_a_server_that_says_when_is_obeyed_or_left_alone() -> None:
    budget = RetryBudget(wait_s=5)
    assert budget.wait_before(failure(retry_after_s=3), 1) == 3
    assert budget.wait_before(failure(retry_after_s=3), 1) is None, "only 2 s are left"
    assert budget.wait_before(failure(retry_after_s=1e9), 1) is None


def test_tries_are_counted() -> None:
    assert RetryBudget(tries=2).wait_before(failure(), 3) is None


@pytest.mark.parametrize(
    "kind",
    [
        ModelErrorKind.UNREACHABLE,
        ModelErrorKind.NOT_PULLED,
        ModelErrorKind.UNAUTHENTICATED,
        ModelErrorKind.CONTEXT_OVERFLOW,
        ModelErrorKind.REFUSED,
        ModelErrorKind.STALLED,
    ],
)
def test_lasting_failures_are_not_tried_again(kind: ModelErrorKind) -> None:
    assert RetryBudget().wait_before(failure(kind), 1) is None


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_failures_in_a_row_cool_a_model_down_for_a_while() -> None:
    clock = Clock()
    cooldowns = Cooldowns(clock)
    for _ in range(FAILURES - 1):
        cooldowns.record_failure("m", failure())
    assert cooldowns.find("m") is None
    cooldowns.record_failure("m", failure())
    cooling = cooldowns.find("m")
    assert cooling is not None
    assert (cooling.left_s, cooling.why) == (COOLDOWN_S, "It failed.")
    assert cooldowns.find("other") is None
    clock.now += COOLDOWN_S
    assert cooldowns.find("m") is None


def test_an_answer_in_between_and_old_failures_do_not_count() -> None:
    clock = Clock()
    cooldowns = Cooldowns(clock)
    cooldowns.record_failure("m", failure())
    cooldowns.record_failure("m", failure())
    cooldowns.record_answer("m")
    cooldowns.record_failure("m", failure())
    assert cooldowns.find("m") is None
    clock.now += WINDOW_S + 1
    cooldowns.record_failure("m", failure())
    cooldowns.record_failure("m", failure())
    assert cooldowns.find("m") is None


def test_a_server_that_says_when_is_left_alone_until_then_but_not_for_ever() -> None:
    cooldowns = Cooldowns(Clock())
    cooldowns.record_failure("m", failure(retry_after_s=1e9))
    cooling = cooldowns.find("m")
    assert cooling is not None
    assert cooling.left_s == MAX_COOLDOWN_S


def test_a_wrong_request_says_nothing_of_the_model() -> None:
    cooldowns = Cooldowns(Clock())
    for _ in range(FAILURES):
        cooldowns.record_failure("m", failure(ModelErrorKind.REFUSED, retry_after_s=5))
    assert cooldowns.find("m") is None


def test_a_way_that_is_back_ends_the_rest_of_those_that_could_not_be_reached() -> None:
    cooldowns = Cooldowns(Clock())
    for kind in (ModelErrorKind.UNREACHABLE, ModelErrorKind.FAILED):
        for _ in range(FAILURES):
            cooldowns.record_failure(kind.value, failure(kind), "https://near:443")
            cooldowns.record_failure(f"far {kind.value}", failure(kind), "https://far:443")
    cooldowns.clear_origin("https://near:443")
    assert cooldowns.find("MODEL_UNREACHABLE") is None
    assert cooldowns.find("MODEL_FAILED")
    assert cooldowns.find("far MODEL_UNREACHABLE")
