"""Who is routed by which policy."""

from __future__ import annotations

import pytest
from google.protobuf.struct_pb2 import Struct
from oblix.v1 import routing_pb2, sessions_pb2

from oblixd.errors import InvalidArgumentError
from oblixd.router.policies import Policies
from oblixd.routing.policy_text import definition_of, rule_of

RULES = [
    rule_of(line)
    for line in (
        "category=medical -> private",
        "category=draft -> cheapest",
        "owner.team=research -> fastest",
    )
]


def choose(policies: Policies, name: str = "", session: sessions_pb2.Session | None = None):
    policy = policies.choose(routing_pb2.RoutingPolicy(name=name), session)
    return policy.name, policy.source, policy.local_only


def session(policy: str = "", **metadata: object) -> sessions_pb2.Session:
    struct = Struct()
    struct.update(metadata)
    return sessions_pb2.Session(id="s", routing_policy=policy, metadata=struct)


@pytest.mark.parametrize(
    ("name", "where", "expected"),
    [
        ("", None, ("balanced", "default", False)),
        ("", session(), ("balanced", "default", False)),
        ("", session(category="draft"), ("cheapest", "rule", False)),
        ("", session(owner={"team": "research"}), ("fastest", "rule", False)),
        ("", session("prefer-cloud", category="draft"), ("prefer-cloud", "session", False)),
        ("fastest", session("prefer-cloud", category="draft"), ("fastest", "request", False)),
        ("", session(category="medical"), ("private", "rule", True)),
        ("prefer-cloud", session(category="medical"), ("prefer-cloud", "request", True)),
        ("prefer-cloud", session("private"), ("prefer-cloud", "request", True)),
        ("private", session("prefer-cloud"), ("private", "request", True)),
    ],
)
def test_the_request_goes_before_the_session_before_the_rules_and_local_only_always_counts(
    name, where, expected
):
    assert choose(Policies(rules=RULES), name, where) == expected


def test_a_default_of_the_configuration_counts_where_nobody_names_one_and_keeps_what_is_private():
    assert choose(Policies(default="fastest")) == ("fastest", "default", False)
    assert choose(Policies(default="private"), "prefer-cloud") == ("prefer-cloud", "request", True)


def test_a_policy_of_ones_own_may_build_on_another_and_the_request_replaces_its_thresholds():
    policies = Policies(
        [
            definition_of("day = balanced cpu_threshold=50 load_threshold=2"),
            definition_of("night = day cpu_threshold=95"),
        ]
    )
    given = routing_pb2.RoutingPolicy(
        name="night", resources=routing_pb2.ResourcePolicy(gpu_threshold=0.0), max_cost=0.5
    )
    policy = policies.choose(given, None)
    limits = policy.resources
    assert (limits.cpu_threshold, limits.load_threshold, limits.gpu_threshold) == (95.0, 2.0, 0.0)
    assert policy.max_cost == 0.5


def test_an_unknown_name_is_refused_with_those_that_there_are():
    policies = Policies([definition_of("night = prefer-cloud")])
    with pytest.raises(InvalidArgumentError) as caught:
        choose(policies, "nigth")
    assert caught.value.reason == "POLICY_UNKNOWN"
    assert caught.value.metadata["field"] == "policy.name"
    for known in ("balanced", "private", "night"):
        assert known in caught.value.message
    with pytest.raises(InvalidArgumentError) as of_session:
        choose(policies, "", session("gone"))
    assert of_session.value.metadata["field"] == "session.routing_policy"


@pytest.mark.parametrize(
    "lines", [{"rules": [rule_of("a=b -> gone")]}, {"default": "gone"}, {"own": [definition_of("x = gone")]}]
)
def test_a_configuration_that_names_what_is_not_there_is_refused(lines):
    with pytest.raises(InvalidArgumentError, match="no routing policy 'gone'"):
        Policies(**lines)


def test_the_decision_names_the_policy_that_made_a_prompt_private() -> None:
    session = sessions_pb2.Session(routing_policy="private")
    policy = Policies().choose(routing_pb2.RoutingPolicy(name="prefer-cloud"), session)
    assert (policy.name, policy.local_only) == ("prefer-cloud", True)
    assert policy.private_by == "private (the session's)"
