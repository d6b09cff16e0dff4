"""The daemon's numbers in the text format of Prometheus.

They are collected when somebody asks. The library is loaded then, too: a daemon that nobody scrapes does not
pay for it. docs/reference/metrics.md lists them; a test compares.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oblixd import __version__
from oblixd.app.observation import Histogram, ModelNumbers, Observer
from oblixd.execution import Executions
from oblixd.monitor import Monitor

if TYPE_CHECKING:
    from prometheus_client.core import Metric


@dataclass(frozen=True, slots=True, eq=False)
class Metrics:
    """Writes what the parts know."""

    observer: Observer
    executions: Executions
    monitor: Monitor
    counts: Mapping[str, Callable[[], int]]
    """Gauges by name: sessions, clients, watchers."""
    currency: Callable[[], str]
    started_s: float

    def text(self) -> str:
        """Give all of them."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest  # noqa: PLC0415

        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        return generate_latest(registry).decode()

    def collect(self) -> Iterator[Metric]:
        """Yield each metric, as the library asks for them."""
        yield from self._of_daemon()
        yield from self._of_models()
        yield from self._of_machine()

    def _of_daemon(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily  # noqa: PLC0415

        yield InfoMetricFamily("oblix", "The daemon's version.", {"version": __version__})
        yield GaugeMetricFamily("oblix_uptime_seconds", "Time since the start.", time.time() - self.started_s)
        states = GaugeMetricFamily("oblix_executions", "Executions by state.", labels=["state"])
        waiting = self.executions.waiting_count
        states.add_metric(["queued"], waiting)
        states.add_metric(["running"], self.executions.running_count - waiting)
        yield states
        held = self.executions.memory.total_bytes
        yield GaugeMetricFamily("oblix_client_memory_bytes", "Memory that is held for clients.", held)
        history, about = (
            self.executions.history_bytes,
            "Memory that ends of sessions take, for their next prompts.",
        )
        yield GaugeMetricFamily("oblix_history_bytes", about, history)
        for name, count in self.counts.items():
            yield GaugeMetricFamily(f"oblix_{name}", f"The number of {name}.", count())

    def _of_models(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415

        models = self.observer.models.items()

        def counter(
            name: str, about: str, label: str, of: Callable[[ModelNumbers], Mapping[str, float]]
        ) -> Metric:
            family = CounterMetricFamily(name, about, labels=["model", label])
            for model, numbers in models:
                for value, count in of(numbers).items():
                    family.add_metric([model, value], count)
            return family

        yield counter("oblix_executions", "Executions that ended.", "outcome", lambda one: one.outcomes)
        yield counter("oblix_tokens", "Tokens of contexts and answers.", "direction", lambda one: one.tokens)
        about = "Attempts that failed and were followed by another one."
        yield counter("oblix_failed_attempts", about, "reason", lambda one: one.failures)
        yield counter(
            "oblix_cost",
            "What answers cost, as far as prices are known.",
            "currency",
            lambda one: {self.currency(): one.cost},
        )
        yield self._histogram("oblix_execution_duration_seconds", "To the end.", lambda one: one.duration)
        about = "From the start of the turn to the first content."
        yield self._histogram("oblix_time_to_first_token_seconds", about, lambda one: one.first_token)

    def _histogram(self, name: str, about: str, of: Callable[[ModelNumbers], Histogram]) -> Metric:
        from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415

        family = HistogramMetricFamily(name, about, labels=["model"])
        for model, numbers in self.observer.models.items():
            if (one := of(numbers)).counts:
                family.add_metric([model], list(_cumulative(one)), one.total)
        return family

    def _of_machine(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

        resources: Any = self.monitor.latest().resources
        for name, about in (("cpu_percent", "Load of the processor."), ("memory_percent", "Used memory.")):
            value = getattr(resources, name)
            if value is not None:
                yield GaugeMetricFamily(f"oblix_machine_{name}", about, value)


def _cumulative(one: Histogram) -> Iterator[tuple[str, float]]:
    so_far = 0
    for bound, count in zip([*map(str, one.bounds), "+Inf"], one.counts, strict=True):
        so_far += count
        yield bound, so_far
