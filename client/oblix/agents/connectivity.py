"""Thresholds for the network."""

from __future__ import annotations

from oblix.agents._thresholds import threshold
from oblix.agents.base import PolicyAgent


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
