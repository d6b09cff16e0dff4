"""Thresholds for this machine's load.

Thresholds for the network.

The check of a threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypedDict, Unpack

from oblix._convert.validation import describe, invalid
from oblix.agents.base import PolicyAgent


def threshold(value: object, field: str, most: float | None = None) -> float:
    """Return the value where it is a finite number from 0 to `most`, else InvalidArgumentError."""
    limit = "a number of 0 or more" if most is None else f"a number from 0 to {most:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(field, limit, describe(value))
    if not math.isfinite(value) or value < 0 or (most is not None and value > most):
        raise invalid(field, limit, value)
    return float(value)


DEFAULTS = {
    "cpu_threshold": 80.0,
    "memory_threshold": 85.0,
    "load_threshold": 4.0,
    "gpu_threshold": 85.0,
    "critical_cpu": 90.0,
    "critical_memory": 95.0,
    "critical_gpu": 95.0,
}


class Thresholds(TypedDict, total=False):
    """The thresholds of a ResourceMonitor, by name."""

    cpu_threshold: float
    memory_threshold: float
    load_threshold: float
    gpu_threshold: float
    critical_cpu: float
    critical_memory: float
    critical_gpu: float


class ResourceMonitor(PolicyAgent):
    """When this machine counts as too busy for a local model.

    States: `available`, `constrained` (a value is at its threshold), `critical`
    (at its critical one). Targets: `local_cpu`, `local_gpu`, `cloud`.
    """

    routing = "resource_routing"

    def __init__(
        self,
        name: str = "resource_monitor",
        custom_thresholds: Mapping[str, float] | None = None,
        **thresholds: Unpack[Thresholds],
    ) -> None:
        """Take thresholds that differ from the defaults, as a dict or by their names.

        Percent, 0 to 100: `cpu_threshold` 80, `memory_threshold` 85,
        `gpu_threshold` 85, `critical_cpu` 90, `critical_memory` 95,
        `critical_gpu` 95. Load average over one minute: `load_threshold`
        4.0. A default is not sent: the daemon's counts, whose load threshold grows with the cores.
        Raises InvalidArgumentError for another name or a value out of its range.
        """
        super().__init__(name)
        given = _check_thresholds({} if custom_thresholds is None else custom_thresholds)
        self.custom_thresholds = given | _check_thresholds(thresholds)
        self.thresholds = DEFAULTS | self.custom_thresholds
        """All seven, the custom ones included."""


def _check_thresholds(custom: object) -> dict[str, float]:
    if not isinstance(custom, Mapping):
        raise invalid("custom_thresholds", "a dict", describe(custom))
    unknown = [name for name in custom if name not in DEFAULTS]
    if unknown:
        raise invalid("custom_thresholds", f"the names {', '.join(DEFAULTS)}", describe(unknown[0]))
    return {
        name: threshold(value, f"custom_thresholds.{name}", None if name == "load_threshold" else 100.0)
        for name, value in custom.items()
    }


class ConnectivityAgent(PolicyAgent):
    """When the network counts as too poor for a cloud model.

    States: `optimal`, `degraded` (a value is beyond its threshold),
    `disconnected`. Targets: `local`, `cloud`, `hybrid`.
    """

    routing = "connectivity_routing"

    def __init__(
        self,
        name: str = "connectivity_monitor",
        latency_threshold: float = 200.0,
        packet_loss_threshold: float = 10.0,
        bandwidth_threshold: float = 5.0,
        check_interval: float = 30,
    ) -> None:
        """Set the thresholds: milliseconds at most, percent at most, megabits a second at least.

        `check_interval` (seconds) is kept for older programs; the daemon samples
        for all of them, at its own pace. Raises InvalidArgumentError.
        """
        super().__init__(name)
        self.latency_threshold = threshold(latency_threshold, "latency_threshold")
        self.packet_loss_threshold = threshold(packet_loss_threshold, "packet_loss_threshold", 100.0)
        self.bandwidth_threshold = threshold(bandwidth_threshold, "bandwidth_threshold")
        self.check_interval = threshold(check_interval, "check_interval")
