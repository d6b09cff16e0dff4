"""docs/reference/routing.md shows the rules as they are: its tables are made from them.

In `tests`, `python -m support.repository.routing_page` writes them anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields

from support.data.routing_scenarios import SCENARIOS, Scenario
from support.repository.files import ROOT

from oblixd.routing import (
    ConnectivityState,
    ConnectivityThresholds,
    ResourceState,
    ResourceThresholds,
    thresholds,
)
from oblixd.routing.hysteresis import Hysteresis
from oblixd.routing.rules import EXCLUDES, LAST, LATER, TABLE, Row

PAGE = ROOT / "docs/reference/routing.md"
HYSTERESIS = {
    "CPU, GPU": thresholds.USE,
    "memory": thresholds.MEMORY,
    "load": thresholds.LOAD,
    "latency": thresholds.LATENCY,
    "packet loss": thresholds.LOSS,
    "bandwidth": thresholds.BANDWIDTH,
    "offline": thresholds.REACHABLE,
}
MEANINGS = {
    "LOCAL_ONLY": "it is a cloud model, and the request, its session or its policy is local-only",
    "NOT_PINNED": "the request pins another model",
    "NO_TOOLS": "the request has tools, and it can't call any",
    "NO_IMAGES": "the prompt has an image, and it reads text only",
    "TOO_EXPENSIVE": "it would cost more than `max_cost`",
    "BUDGET_SPENT": "a cap on spending is reached, and it costs something",
    "OFFLINE": "its server can't be reached",
    "UNAVAILABLE": "it is down, cools down after failures, or its rate limit lets nothing through",
    "NO_MEMORY": "it has to be loaded, and less memory is free than it takes",
    "QUEUE_FULL": "no more prompts may wait for it",
    "WINDOW_TOO_SHORT": "the conversation does not fit, and the request prefers a longer window",
    "TOO_SLOW": "its answer would come after the request's deadline",
    "AGENT_TARGET": "an agent of the program prefers others",
}
UNITS = {"load_threshold": "load average", "latency_threshold": "ms", "bandwidth_threshold": "Mbps"}
"""Of the thresholds that are not in percent."""
STEPS = ((EXCLUDES, "never"), (LAST, "only if no other candidate is left"), (LATER, "behind the others"))


def scenarios() -> Iterable[str]:
    yield from ("| Situation | Order | Rule |", "|---|---|---|")
    yield from (_scenario(scenario) for scenario in SCENARIOS)


def _scenario(scenario: Scenario) -> str:
    order = ", ".join(f"`{name}`" for name in scenario.order.split(", ") if name) or "none"
    return f"| {scenario.situation} | {order} | `{scenario.rule}` |"


def rules() -> Iterable[str]:
    yield from ("| Rule | Applies to a model if | The daemon then tries it |", "|---|---|---|")
    for step, then in STEPS:
        yield from (f"| `{rule.name}` | {MEANINGS[rule.name]} | {then} |" for rule in step)


def table() -> Iterable[str]:
    yield from ("| Row | Machine | Network | First |", "|---|---|---|---|")
    yield from (_row(row) for row in TABLE)


def _row(row: Row) -> str:
    machines = [state for state in ResourceState if state and _any(row, [state], ConnectivityState)]
    networks = [state for state in ConnectivityState if state and _any(row, ResourceState, [state])]
    first = row.prefers.value + (", of cloud models the small ones" if row.takes_small else "")
    return f"| `{row.rule}` | {_names(machines, 3)} | {_names(networks, 3)} | {first} |"


def _any(row: Row, machines: Iterable[ResourceState], networks: Iterable[ConnectivityState]) -> bool:
    """Whether the row is the first that applies in one of these situations."""
    return any(
        next(one for one in TABLE if one.applies(machine, network)) is row
        for machine in machines
        for network in networks
    )


def _names(states: list[ResourceState] | list[ConnectivityState], everything: int) -> str:
    return "any" if len(states) == everything else ", ".join(state.name.lower() for state in states)


def defaults() -> Iterable[str]:
    yield from ("| Threshold | Default | Unit | State beyond it |", "|---|---|---|---|")
    for group, state in ((ResourceThresholds(), "constrained"), (ConnectivityThresholds(), "degraded")):
        for name in (field.name for field in fields(group)):
            then = "critical" if name.startswith("critical") else state
            yield f"| `{name}` | {getattr(group, name):g} | {UNITS.get(name, 'percent')} | {then} |"


def hysteresis() -> Iterable[str]:
    yield from ("| Value | Smoothed over | Counts after | Ends after | Margin |", "|---|---|---|---|---|")
    yield from (_hysteresis(name, value) for name, value in HYSTERESIS.items())


def _hysteresis(name: str, value: Hysteresis) -> str:
    smooth = f"{value.smooth_s:g} s" if value.smooth_s else "not"
    margin = f"{value.margin:g}" if value.margin else f"{value.margin_share:.0%}"
    return f"| {name} | {smooth} | {value.enter_s:g} s | {value.leave_s:g} s | {margin} |"


TABLES = (scenarios, rules, table, defaults, hysteresis)
"""Each stands in the page behind a comment with its name."""


def page(text: str) -> str:
    """The page with its tables as the rules have them."""
    for make in TABLES:
        begin = f"<!-- {make.__name__} -->"
        shown = "\n".join([begin, *make()])
        text = re.sub(rf"{begin}(\n\|.*)*", lambda _, shown=shown: shown, text)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
