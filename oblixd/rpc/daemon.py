"""DaemonService."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from oblix.v1 import daemon_pb2, daemon_pb2_grpc

from oblixd.rpc import usage
from oblixd.rpc.config import ConfigCalls
from oblixd.rpc.edge import Context
from oblixd.sessions import MAX_JSON_BYTES, MAX_MESSAGE_BYTES, MAX_TITLE_CHARACTERS
from oblixd.usage import Usage

CAPABILITIES = (
    "config",
    "embeddings",
    "endpoint",
    "executions",
    "executions.attach",
    "executions.explain",
    "executions.idempotent",
    "executions.images",
    "executions.priority",
    "executions.schema",
    "executions.timeout",
    "executions.tools",
    "metrics",
    "models",
    "models.pull",
    "monitor",
    "monitor.history",
    "sessions",
    "sessions.backup",
    "sessions.copy",
    "sessions.edit",
    "sessions.import",
    "sessions.named",
    "sessions.prune",
    "sessions.search",
    "sessions.undelete",
    "sessions.watch",
    "usage",
)
"""Lower-case words, stable: a client asks for one before it relies on it."""

MAX_REQUEST_BYTES = 16 << 20


class RecentProblem(Protocol):
    """A warning or an error of the log."""

    @property
    def time_s(self) -> float: ...
    @property
    def level(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def request_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class DaemonInfo:
    """What the daemon says of itself; the counts are asked for at each call."""

    version: str
    started_s: float
    """Seconds since the Unix epoch."""
    paths: daemon_pb2.DaemonPaths
    session_count: Callable[[], int]
    running_count: Callable[[], int]
    client_count: Callable[[], int]
    addresses: Callable[[], Sequence[str]]
    problems: Callable[[], Sequence[str]]
    """What keeps the daemon from working as configured."""
    recent_problems: Callable[[], Iterable[RecentProblem]]
    """The last warnings and errors, newest first."""
    metrics: Callable[[], str]


class DaemonServicer(daemon_pb2_grpc.DaemonServiceServicer):
    """Tells what runs here and what was used, and ends it."""

    def __init__(
        self,
        about: DaemonInfo,
        shut_down: Callable[[float | None], None],
        usage: Usage,
        config: ConfigCalls,
    ) -> None:
        self._about = about
        self._shut_down = shut_down
        self._usage = usage
        self._config = config

    async def GetInfo(
        self, request: daemon_pb2.GetInfoRequest, context: Context
    ) -> daemon_pb2.GetInfoResponse:
        about = self._about
        result = daemon_pb2.GetInfoResponse(
            version=about.version,
            pid=os.getpid(),
            capabilities=CAPABILITIES,
            paths=about.paths,
            limits=daemon_pb2.DaemonLimits(
                request_bytes=MAX_REQUEST_BYTES,
                message_bytes=MAX_MESSAGE_BYTES,
                metadata_bytes=MAX_JSON_BYTES,
                title_characters=MAX_TITLE_CHARACTERS,
            ),
            session_count=about.session_count(),
            running_count=about.running_count(),
            client_count=about.client_count(),
            addresses=about.addresses(),
            problems=about.problems(),
        )
        for problem in about.recent_problems():
            entry = result.recent_problems.add(
                level=problem.level, text=problem.text, request_id=problem.request_id
            )
            entry.time.FromMicroseconds(round(problem.time_s * 1e6))
        result.start_time.FromMicroseconds(round(about.started_s * 1e6))
        return result

    async def GetMetrics(
        self, request: daemon_pb2.GetMetricsRequest, context: Context
    ) -> daemon_pb2.GetMetricsResponse:
        return daemon_pb2.GetMetricsResponse(text=self._about.metrics())

    async def Shutdown(
        self, request: daemon_pb2.ShutdownRequest, context: Context
    ) -> daemon_pb2.ShutdownResponse:
        grace = request.grace.ToMicroseconds() / 1e6 if request.HasField("grace") else None
        self._shut_down(grace)
        return daemon_pb2.ShutdownResponse()

    async def GetConfig(
        self, request: daemon_pb2.GetConfigRequest, context: Context
    ) -> daemon_pb2.GetConfigResponse:
        return self._config.read(self._about.paths.config)

    async def ReloadConfig(
        self, request: daemon_pb2.ReloadConfigRequest, context: Context
    ) -> daemon_pb2.ReloadConfigResponse:
        return self._config.reload()

    async def GetUsage(
        self, request: daemon_pb2.GetUsageRequest, context: Context
    ) -> daemon_pb2.GetUsageResponse:
        return await usage.read(self._usage, request)
