"""Sends what executions came to to an OpenTelemetry collector: a trace of each, and metrics.

The libraries are the extra `otel`. They are imported when this is turned on, and so is `recorder`, by its
name: a daemon that sends nothing does not pay for them. Sending is a thread's work; a collector that is away
costs an execution nothing.
"""

from oblixd.app.telemetry.collector import open_providers

__all__ = ["open_providers"]
