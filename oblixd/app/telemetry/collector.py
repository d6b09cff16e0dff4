"""Where to send to: the settings, and the standard variables, which go before them.

The variables are listed at https://opentelemetry.io/docs/specs/otel/protocol/exporter and
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables. The libraries read most
of them.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oblixd import __version__
from oblixd.app import api_keys
from oblixd.config import schema
from oblixd.errors import FailedPreconditionError

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger(__name__)

NAME = "oblixd"
"""Of the service, and of the scope of its spans and metrics."""
_SIGNALS = ("TRACES", "METRICS")
_COLLECTORS = ("OTEL_EXPORTER_OTLP_ENDPOINT", *(f"OTEL_EXPORTER_OTLP_{one}_ENDPOINT" for one in _SIGNALS))
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", *(f"OTEL_EXPORTER_OTLP_{one}_HEADERS" for one in _SIGNALS))
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_WITH_CONTENT = {"true", "span_only", "span_and_event"}
_LIBRARIES = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc",
}


@dataclass(frozen=True, slots=True)
class Providers:
    """What makes spans and metrics, and sends them."""

    tracers: TracerProvider
    meters: MeterProvider
    sends_content: bool
    """Whether prompts and answers are sent, too."""


def is_wanted(settings: schema.Telemetry, environ: Mapping[str, str]) -> bool:
    """Return whether anything is to be sent."""
    if settings.enabled == "no" or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return settings.enabled == "yes" or any(environ.get(name) for name in _COLLECTORS)


def open_providers(settings: schema.Telemetry, environ: MutableMapping[str, str]) -> Providers | None:
    """Begin to send. None: it is off, or it can't be; then the log says what to do.

    Headers, which may hold a key, are taken out of the environment: children must not inherit them.
    """
    if not is_wanted(settings, environ):
        return None
    try:
        return _open(settings, environ)
    except ImportError as error:
        logger.error(  # noqa: TRY400 - a sentence for a person
            "nothing is sent to OpenTelemetry, as %s is missing: run `%s -m pip install 'oblix[otel]'`, "
            "then `oblix restart`",
            error.name,
            sys.executable,
        )
    except FailedPreconditionError as error:
        logger.error("nothing is sent to OpenTelemetry: %s", error.message)  # noqa: TRY400 - as above
    finally:
        for name in _HEADERS:
            environ.pop(name, None)
    return None


def _open(settings: schema.Telemetry, environ: Mapping[str, str]) -> Providers:
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - the extra `otel`
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above

    exporters, resource = _Exporters(settings, environ), _resource(environ)
    spans, metrics = exporters.make("trace"), exporters.make("metric")
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    if spans is not None:
        tracers.add_span_processor(BatchSpanProcessor(spans))
    readers = [] if metrics is None else [PeriodicExportingMetricReader(metrics)]
    meters = MeterProvider(readers, resource, shutdown_on_exit=False)
    sends_content = settings.content or environ.get(_CONTENT, "").strip().lower() in _WITH_CONTENT
    logger.info("executions are sent to OpenTelemetry, %s prompts", "with" if sends_content else "without")
    return Providers(tracers, meters, sends_content)


def _resource(environ: Mapping[str, str]) -> Resource:
    """Name the service, unless a variable does."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - as above

    attributes = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    is_named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in attributes
    return Resource.create({"service.version": __version__, **({} if is_named else {"service.name": NAME})})


class _Exporters:
    """Makes what sends spans, and what sends metrics."""

    def __init__(self, settings: schema.Telemetry, environ: Mapping[str, str]) -> None:
        """Raise FailedPreconditionError for a file of headers that can't be used."""
        self._settings = settings
        self._environ = environ
        self._headers = api_keys.headers(settings.headers_file) if settings.headers_file else None

    def make(self, kind: str) -> Any:
        """Return what sends a kind, `trace` or `metric`. None: that kind is turned off.

        Raises FailedPreconditionError for a protocol that is not known.
        """
        signal = f"{kind.upper()}S"
        if self._environ.get(f"OTEL_{signal}_EXPORTER", "otlp").strip().lower() == "none":
            return None
        protocol = self._variable(signal, "PROTOCOL") or self._settings.protocol
        if protocol not in _LIBRARIES:
            message = f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}: set it to {' or '.join(_LIBRARIES)}."
            raise FailedPreconditionError("CONFIG_INVALID", message)
        module = importlib.import_module(f"{_LIBRARIES[protocol]}.{kind}_exporter")
        exporter = module.OTLPSpanExporter if kind == "trace" else module.OTLPMetricExporter
        return exporter(**self._options(signal, protocol))

    def _options(self, signal: str, protocol: str) -> dict[str, Any]:
        """Give what the settings say and no variable does."""
        options: dict[str, Any] = {}
        if self._settings.endpoint and not self._variable(signal, "ENDPOINT"):
            path = "" if protocol == "grpc" else f"/v1/{signal.lower()}"
            options["endpoint"] = self._settings.endpoint.rstrip("/") + path
        if self._headers and not self._variable(signal, "HEADERS"):
            options["headers"] = self._headers
        return options

    def _variable(self, signal: str, name: str) -> str:
        own = self._environ.get(f"OTEL_EXPORTER_OTLP_{signal}_{name}", "")
        return (own or self._environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")).strip()
