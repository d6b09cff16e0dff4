"""Thresholds for this machine's load."""

from __future__ import annotations

from collections.abc import Mapping

from oblix._checks import invalid, shown
from oblix.agents._thresholds import threshold
from oblix.agents.base import PolicyAgent

DEFAULTS = {
    "cpu_threshold": 80.0,
    "memory_threshold": 85.0,
    "load_threshold": 4.0,
    "gpu_threshold": 85.0,
    "critical_cpu": 90.0,
    "critical_memory": 95.0,
    "critical_gpu": 95.0,
}


class ResourceMonitor(PolicyAgent):
    """When this machine counts as too busy for a local model.

    States: `available`, `constrained` (a value is at its threshold), `critical`
    (at its critical one). Targets: `local_cpu`, `local_gpu`, `cloud`.
    """

    routing = "resource_routing"

    def __init__(
        self, name: str = "resource_monitor", custom_thresholds: Mapping[str, float] | None = None
    ) -> None:
        """Take thresholds that differ from the defaults.

        Percent, 0 to 100: `cpu_threshold` 80, `memory_threshold` 85,
        `gpu_threshold` 85, `critical_cpu` 90, `critical_memory` 95,
        `critical_gpu` 95. Load average over one minute: `load_threshold` 4.0.
        Raises InvalidArgumentError for another name or a value out of its range.
        """
        super().__init__(name)
        self.custom_thresholds = _checked(custom_thresholds or {})
        self.thresholds = DEFAULTS | self.custom_thresholds
        """All seven, the custom ones included."""


def _checked(custom: object) -> dict[str, float]:
    if not isinstance(custom, Mapping):
        raise invalid("custom_thresholds", "a dict", shown(custom))
    unknown = [name for name in custom if name not in DEFAULTS]
    if unknown:
        raise invalid("custom_thresholds", f"the names {', '.join(DEFAULTS)}", shown(unknown[0]))
    return {
        name: threshold(value, f"custom_thresholds.{name}", None if name == "load_threshold" else 100.0)
        for name, value in custom.items()
    }
