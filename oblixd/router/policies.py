"""Which policy a prompt is routed by.

In this order: the one that the request names, the session's, that of the first
rule of the configuration whose label the session has, the configuration's
default. A local-only policy among them always counts, whoever named it: it
can't be talked away by naming another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from google.protobuf.message import Message as ProtoMessage
from google.protobuf.struct_pb2 import Struct
from oblix.v1 import routing_pb2, sessions_pb2

from oblixd.errors import InvalidArgumentError, invalid_argument
from oblixd.routing import NAMED, Definition, Policy, Rule, policy_from, policy_named, policy_of
from oblixd.sessions import label, labels_of

DEFAULT = "balanced"
_FORBIDDEN = 'of the configuration ([routing] cloud = "no")'
_CHOSEN_BY = {
    "request": "the request's",
    "session": "the session's",
    "rule": "by a rule for the session's metadata",
    "default": "the configuration's default",
}


class Policies:
    """The policies that can be named, and who is routed by which."""

    def __init__(
        self,
        own: Sequence[Definition] = (),
        rules: Sequence[Rule] = (),
        default: str = DEFAULT,
        *,
        allows_cloud: bool = True,
        load_threshold: float | None = None,
    ) -> None:
        """Take what the configuration defines.

        `allows_cloud`: whether any prompt may go to a cloud model. `load_threshold`: for this machine,
        of the policies that are always there; None: what they say themselves.
        Raises InvalidArgumentError for a policy that is not there or a threshold that can't be.
        """
        self._by_name = {name: _with_load(policy, load_threshold) for name, policy in NAMED.items()}
        self._allows_cloud = allows_cloud
        for definition in own:
            if definition.name in NAMED:
                raise _is_built_in(definition.name)
            self._by_name[definition.name] = policy_of(definition, self._by_name)
        self._rules = [(_label(rule), self._policy_named(rule.policy, "routing.rules")) for rule in rules]
        self._default = replace(self._policy_named(default, "routing.policy"), source="default")

    def replace(self, other: Policies) -> None:
        """Be as another one from now on: the configuration was read again."""
        self._by_name, self._rules, self._default = other._by_name, other._rules, other._default
        self._allows_cloud = other._allows_cloud

    @property
    def names(self) -> list[str]:
        """The policies that there are."""
        return list(self._by_name)

    def check_name(self, name: str) -> None:
        """Raise InvalidArgumentError POLICY_UNKNOWN where no session could be routed by it. Empty is none."""
        if name:
            self._policy_named(name, "session.routing_policy")

    def choose(self, given: routing_pb2.RoutingPolicy, session: sessions_pb2.Session | None) -> Policy:
        """Return the policy of a request in a session, with the request's own thresholds and cap.

        Raises InvalidArgumentError POLICY_UNKNOWN or INVALID_THRESHOLD.
        """
        candidates = [*self._candidates(given, session), self._default]
        base = candidates[0]
        private = next((policy for policy in candidates if policy.local_only), base)
        if private is not base:
            by = f"{private.name} ({_CHOSEN_BY[private.source]})"
            base = replace(base, local_only=True, private_by=by)
        if not self._allows_cloud and not base.local_only:
            base = replace(base, local_only=True, private_by=_FORBIDDEN)
        if not given.ListFields():
            return base
        cap = given.max_cost if given.HasField("max_cost") else None
        return policy_from(_set_thresholds(given.resources), _set_thresholds(given.connectivity), cap, base)

    def is_local_only(self, given: routing_pb2.RoutingPolicy, session: sessions_pb2.Session | None) -> bool:
        """Return whether one of the policies lets nothing leave this machine. Errors as `choose`."""
        return any(policy.local_only for policy in (*self._candidates(given, session), self._default))

    def _candidates(
        self, given: routing_pb2.RoutingPolicy, session: sessions_pb2.Session | None
    ) -> Iterator[Policy]:
        """Yield every policy that somebody named for this prompt, the strongest first."""
        if given.name:
            yield replace(self._policy_named(given.name, "policy.name"), source="request")
        if session is not None and session.routing_policy:
            policy = self._policy_named(session.routing_policy, "session.routing_policy")
            yield replace(policy, source="session")
        if session is not None and self._rules:
            labels = set(labels_of(session.metadata))
            yield from (replace(policy, source="rule") for wanted, policy in self._rules if wanted in labels)

    def _policy_named(self, name: str, field: str) -> Policy:
        return policy_named(name, self._by_name, field)


def _with_load(policy: Policy, load_threshold: float | None) -> Policy:
    if load_threshold is None:
        return policy
    return replace(policy, resources=replace(policy.resources, load_threshold=load_threshold))


def _is_built_in(name: str) -> InvalidArgumentError:
    message = f"{name} is a policy that is always there: give yours in routing.policies another name."
    return invalid_argument("POLICY_BUILT_IN", message, field="routing.policies", given=name)


def _label(rule: Rule) -> bytes:
    metadata = Struct()
    metadata.update({rule.key: rule.value})
    return label(rule.key, metadata.fields[rule.key])


def _set_thresholds(thresholds: ProtoMessage) -> Mapping[str, object]:
    return {field.name: value for field, value in thresholds.ListFields()}
