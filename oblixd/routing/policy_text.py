"""Policies and rules as the configuration writes them, a line each.

night = prefer-cloud cpu_threshold=50 max_cost=0.01
category=medical -> private
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from oblixd.errors import invalid_argument
from oblixd.routing.policy import ConnectivityThresholds, Policy, policy_from

NAME = "[a-z0-9][a-z0-9-]{0,63}"
POLICY_PATTERN = rf"{NAME} *= *{NAME}( +[a-z_]+=[0-9.]+)*"
POLICY_FORM = "NAME = BASE, then any number of THRESHOLD=NUMBER and max_cost=NUMBER"
RULE_PATTERN = rf"[^=]+=.* -> *{NAME}"
RULE_FORM = "KEY=VALUE -> POLICY"

_NETWORK = frozenset(field.name for field in fields(ConnectivityThresholds))


@dataclass(frozen=True, slots=True)
class Definition:
    """A policy of somebody's own: another one with other thresholds."""

    name: str
    base: str
    thresholds: Mapping[str, object]
    """Thresholds by name, and `max_cost`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Sessions whose metadata has this value under this key are routed by this policy."""

    key: str
    """A key of the metadata, or a dotted path."""
    value: str | float | bool | None
    policy: str


def definition_of(line: str) -> Definition:
    """Return the definition that a line of POLICY_FORM says."""
    name, _, rest = line.partition("=")
    base, *settings = rest.split()
    parts = (setting.partition("=") for setting in settings)
    return Definition(name.strip(), base, {key: _number(number) for key, _, number in parts})


def policy_of(definition: Definition, policies: Mapping[str, Policy]) -> Policy:
    """Return the policy of a definition, from one that is known already.

    Raises InvalidArgumentError POLICY_UNKNOWN for another base, and
    INVALID_THRESHOLD for a name or a number that can't be.
    """
    network = {key: value for key, value in definition.thresholds.items() if key in _NETWORK}
    machine = {
        key: value for key, value in definition.thresholds.items() if key not in {*_NETWORK, "max_cost"}
    }
    base = policy_named(definition.base, policies, "routing.policies")
    policy = policy_from(machine, network, definition.thresholds.get("max_cost"), base=base)
    return replace(policy, name=definition.name)


def rule_of(line: str) -> Rule:
    """Return the rule that a line of RULE_FORM says. The value is JSON where it reads as such, else text."""
    label, _, policy = line.rpartition("->")
    key, _, value = label.strip().partition("=")
    return Rule(key.strip(), _scalar(value.strip()), policy.strip())


def policy_named(name: str, policies: Mapping[str, Policy], field: str) -> Policy:
    """Return the policy of this name. Raises InvalidArgumentError POLICY_UNKNOWN."""
    if name in policies:
        return policies[name]
    names = ", ".join(policies)
    message = f"There is no routing policy {name[:64]!r}. There are: {names}."
    raise invalid_argument("POLICY_UNKNOWN", message, field=field, limit=names, given=name)


def _number(text: str) -> object:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?|\.\d+", text) else text


def _scalar(text: str) -> str | float | bool | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if value is None or isinstance(value, str | int | float | bool) else text
