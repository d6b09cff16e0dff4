"""Settings in a form of their own, from before they were tables. They still count, and are reported as old.

usage.prices = ["openai:gpt-4o-mini=0.15/0.60"]
routing.policies = ["night = prefer-cloud cpu_threshold=50 max_cost=0.01"]
routing.rules = ["category=medical -> private"]
embedded.models = ["coder=/models/coder.gguf"]
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator

from oblixd.config.schema import Config
from oblixd.routing import policy_text
from oblixd.usage import prices


def notices(config: Config, in_environment: Collection[str]) -> Iterator[tuple[str, str]]:
    """Say of each old text of the file where it stands and how it is written today.

    A variable of the environment can only hold a text: those that stand there are left out.
    """
    texts = {
        "usage.prices": (config.usage.prices, _price),
        "routing.policies": (config.routing.policies, _policy),
        "routing.rules": (config.routing.rules, _rule),
        "embedded.models": (config.embedded.models, _embedded_table),
    }
    for key, (entries, today) in texts.items():
        for entry in entries if key not in in_environment else ():
            if isinstance(entry, str):
                yield key, f"{key}: {entry!r} is in an old form, which still counts. Today: {today(entry)}"


def _price(text: str) -> str:
    model, price = prices.parse_price(text)
    return _table("[[usage.prices]]", model=model, input=price.input, output=price.output)


def _policy(text: str) -> str:
    one = policy_text.definition_of(text)
    return _table("[[routing.policies]]", name=one.name, base=one.base, **one.thresholds)


def _rule(text: str) -> str:
    rule = policy_text.rule_of(text)
    return _table("[[routing.rules]]", key=rule.key, value=rule.value, policy=rule.policy)


def _embedded_table(text: str) -> str:
    name, _, path = text.partition("=")
    given = {"file": path} if path else {}
    return _table("[[models]]", name=name, provider="embedded", **given)


def _table(head: str, **values: object) -> str:
    return ", ".join([head, *(f"{key} = {json.dumps(value)}" for key, value in values.items())])
