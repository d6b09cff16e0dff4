"""Which policy a prompt is routed by.

In this order: the one that the request names, the session's, that of the first
rule of the configuration whose label the session has, the configuration's
default. A local-only policy among them always counts, whoever named it: it
can't be talked away by naming another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from google.protobuf.message import Message as ProtoMessage
from oblix.v1 import routing_pb2, sessions_pb2

from oblixd.errors import InvalidArgumentError
from oblixd.routing import NAMED, Policy, policy_from
from oblixd.sessions.labels import labels_of

DEFAULT = "balanced"


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """Sessions with this label are routed by this policy."""

    label: bytes
    """As `oblixd.sessions.labels.label` makes it of a metadata key and value."""
    policy: str


class Policies:
    """The policies that can be named, and who is routed by which."""

    def __init__(
        self,
        own: Mapping[str, Policy] | None = None,
        rules: Sequence[PolicyRule] = (),
        default: str = DEFAULT,
    ) -> None:
        self._named = {**NAMED, **(own or {})}
        self._rules = rules
        self._default = default

    def named(self, name: str, field: str = "policy.name") -> Policy:
        """The policy of this name. Raises InvalidArgumentError POLICY_UNKNOWN."""
        if name in self._named:
            return self._named[name]
        known = ", ".join(self._named)
        raise InvalidArgumentError(
            "POLICY_UNKNOWN",
            f"There is no routing policy {name[:64]!r}. There are: {known}.",
            field=field,
            limit=known,
            given=name[:64],
        )

    def check(self, given: routing_pb2.RoutingPolicy) -> None:
        """Raise InvalidArgumentError for a policy that no request may have."""
        self.chosen(given, None)

    def chosen(self, given: routing_pb2.RoutingPolicy, session: sessions_pb2.Session | None) -> Policy:
        """The policy of a request in a session, with the request's own thresholds and cap.

        Raises InvalidArgumentError POLICY_UNKNOWN or INVALID_THRESHOLD.
        """
        named = list(self._candidates(given, session))
        base = replace(named[0], local_only=any(policy.local_only for policy in named))
        cap = given.max_cost if given.HasField("max_cost") else None
        return policy_from(_given(given.resources), _given(given.connectivity), cap, base)

    def _candidates(
        self, given: routing_pb2.RoutingPolicy, session: sessions_pb2.Session | None
    ) -> list[Policy]:
        """Every policy that somebody named for this prompt, who counts most first, the default last."""
        found = [replace(self.named(given.name), source="request")] if given.name else []
        if session is not None and session.routing_policy:
            policy = self.named(session.routing_policy, "session.routing_policy")
            found.append(replace(policy, source="session"))
        if session is not None and self._rules:
            labels = set(labels_of(session.metadata))
            matching = [rule.policy for rule in self._rules if rule.label in labels]
            found += [replace(self.named(name, "routing.rules"), source="rule") for name in matching]
        return [*found, replace(self.named(self._default, "routing.policy"), source="default")]


def _given(thresholds: ProtoMessage) -> Mapping[str, object]:
    return {field.name: value for field, value in thresholds.ListFields()}
