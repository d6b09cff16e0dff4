"""Sends what executions came to to an OpenTelemetry collector: a trace of each, and metrics.

The libraries are the extra `otel`. They are imported when this is turned on: a daemon that sends nothing does
not pay for it. Sending is a thread's work; a collector that is away costs an execution nothing.
"""

from oblixd.app.telemetry.collector import open_providers
from oblixd.app.telemetry.recorder import Telemetry

__all__ = ["Telemetry", "open_providers"]
