"""Policies and rules as the configuration writes them."""

from __future__ import annotations

import re

import pytest

from oblixd.errors import InvalidArgumentError
from oblixd.routing import NAMED, Order
from oblixd.routing.policy_text import POLICY_PATTERN, RULE_PATTERN, Rule, definition_of, policy_of, rule_of


def test_a_line_makes_a_policy_out_of_another():
    line = "night = prefer-cloud cpu_threshold=50 latency_threshold=0 max_cost=0.01"
    assert re.fullmatch(POLICY_PATTERN, line)
    policy = policy_of(definition_of(line), NAMED)
    assert (policy.name, policy.order, policy.max_cost) == ("night", Order.CLOUD, 0.01)
    assert (policy.resources.cpu_threshold, policy.connectivity.latency_threshold) == (50.0, 0.0)
    assert policy.resources.memory_threshold == 85.0


@pytest.mark.parametrize(
    ("line", "reason", "names"),
    [
        ("mine = nothing", "POLICY_UNKNOWN", "prefer-cloud"),
        ("mine = balanced cpu=50", "INVALID_THRESHOLD", "cpu_threshold"),
        ("mine = balanced cpu_threshold=101", "INVALID_THRESHOLD", "0 to 100"),
        ("mine = balanced cpu_threshold=1.2.3", "INVALID_THRESHOLD", "0 to 100"),
    ],
)
def test_a_line_that_says_what_cant_be_is_refused_with_what_can(line, reason, names):
    with pytest.raises(InvalidArgumentError) as caught:
        policy_of(definition_of(line), NAMED)
    assert caught.value.reason == reason
    assert names in caught.value.message


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("category=medical -> private", Rule("category", "medical", "private")),
        ("owner.team = research lab -> fastest", Rule("owner.team", "research lab", "fastest")),
        ("priority=3 -> fastest", Rule("priority", 3, "fastest")),
        ('priority="3" -> fastest', Rule("priority", "3", "fastest")),
        ("draft=true -> cheapest", Rule("draft", True, "cheapest")),
        ("path=a -> b -> cheapest", Rule("path", "a -> b", "cheapest")),
        ("list=[1] -> cheapest", Rule("list", "[1]", "cheapest")),
    ],
)
def test_a_line_makes_a_rule(line, rule):
    assert re.fullmatch(RULE_PATTERN, line)
    assert rule_of(line) == rule
