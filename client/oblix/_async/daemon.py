"""The daemon: what was used (`client.usage`), and the machine (`client.machine`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import date

from oblix._convert.models import info_of, snapshot_of, usage_summary
from oblix._resources.core import Core
from oblix._resources.usage import usage_request
from oblix.options import SessionRef
from oblix.reports import DaemonInfo, Snapshot, UsageGroup, UsageSummary
from oblix.v1 import daemon_pb2, monitor_pb2


class AsyncUsage:
    """The usage of all programs of this user, and its cost."""

    def __init__(self, core: Core) -> None:
        self._transport = core.transport

    async def report(
        self,
        by: UsageGroup = "model",
        *,
        first_day: date | str | None = None,
        last_day: date | str | None = None,
        session: SessionRef | None = None,
        model: str | None = None,
    ) -> UsageSummary:
        """Sum up the usage by model, day, client (its program) or session.

        Days are dates or texts as YYYY-MM-DD, in `[usage] time_zone` or the system's time zone, at
        most 400 of them; by default today and the last 30. `session` and `model` (`provider:name`)
        limit the report to one. Raises InvalidArgumentError.
        """
        request = usage_request(by, first_day, last_day, session, model)
        return usage_summary(
            await self._transport.acall(lambda link: link.daemon.GetUsage, request, repeatable=True)
        )


class AsyncMachine:
    """This machine, its network, and the daemon that measures them."""

    def __init__(self, core: Core) -> None:
        self._transport = core.transport

    async def snapshot(self) -> Snapshot:
        """Return the daemon's latest measurement, without a new one."""
        request = monitor_pb2.GetSnapshotRequest()
        answer = await self._transport.acall(lambda link: link.monitor.GetSnapshot, request, repeatable=True)
        return snapshot_of(answer.snapshot)

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        """Yield the latest snapshot, then each new one. A slow reader misses some of them."""
        request = monitor_pb2.WatchSnapshotsRequest()
        answers = self._transport.stream(
            lambda link: link.monitor.WatchSnapshots(request, metadata=link.metadata), repeatable=True
        )
        async with aclosing(answers):
            async for answer in answers:
                yield snapshot_of(answer.snapshot)

    async def info(self) -> DaemonInfo:
        """Return the daemon's version, its capabilities, its paths and its limits."""
        request = daemon_pb2.GetInfoRequest()
        return info_of(
            await self._transport.acall(lambda link: link.daemon.GetInfo, request, repeatable=True)
        )
