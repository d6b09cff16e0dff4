"""Keeps the state up to date: a watch of the snapshots, and one question a second about the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from google.protobuf.duration_pb2 import Duration

from oblix import OblixError
from oblix._transport.channel import Transport
from oblix.cli import daemon
from oblix.cli.commands.service.top.state import State
from oblix.cli.errors import CommandError
from oblix.v1 import executions_pb2, models_pb2, monitor_pb2

PAUSE_S = 1.0
RECENT_S = 30
"""Of the history only so much is asked for again: enough to miss no prompt between two questions."""


async def follow(state: State, on_change: Callable[[], None]) -> None:
    """Ask until cancelled, whether a daemon runs or not; `on_change` is called after each answer."""
    while True:
        # A way of its own for each try: one that failed long waits long before it tries again.
        transport = daemon.running_daemon()
        try:
            await _ask(state, transport, on_change)
        except* (OblixError, CommandError) as failed:
            state.waiting = str(failed.exceptions[0])
        finally:
            transport.close()
        state.moment_s = time.time()
        on_change()
        await asyncio.sleep(PAUSE_S)


async def _ask(state: State, transport: Transport, on_change: Callable[[], None]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_watch(state, transport, on_change))
        group.create_task(_question(state, transport, on_change))


async def _watch(state: State, transport: Transport, on_change: Callable[[], None]) -> None:
    snapshots = transport.stream(
        lambda link: link.monitor.WatchSnapshots(monitor_pb2.WatchSnapshotsRequest(), metadata=link.metadata)
    )
    async with aclosing(snapshots) as told:
        async for answer in told:
            state.snapshot, state.waiting, state.moment_s = answer.snapshot, "", time.time()
            on_change()
    raise CommandError("It ended.")


async def _question(state: State, transport: Transport, on_change: Callable[[], None]) -> None:
    await _history(state, transport, None)
    questions: tuple[Callable[[State, Transport], Awaitable[None]], ...] = (_executions, _models, _recent)
    # At first all at once, so that nobody looks at empty tables.
    for question in questions[:2]:
        await question(state, transport)
    while True:
        for question in questions:
            on_change()
            await asyncio.sleep(PAUSE_S)
            await question(state, transport)


async def _executions(state: State, transport: Transport) -> None:
    request = executions_pb2.ListExecutionsRequest()
    answer = await transport.acall(lambda link: link.executions.ListExecutions, request, starts_daemon=False)
    state.executions = answer.executions


async def _models(state: State, transport: Transport) -> None:
    request = models_pb2.ListModelsRequest(all_clients=True)
    answer = await transport.acall(lambda link: link.models.ListModels, request, starts_daemon=False)
    state.models = answer.models


async def _recent(state: State, transport: Transport) -> None:
    await _history(state, transport, Duration(seconds=RECENT_S))


async def _history(state: State, transport: Transport, duration: Duration | None) -> None:
    request = monitor_pb2.GetHistoryRequest(duration=duration)
    answer = await transport.acall(lambda link: link.monitor.GetHistory, request, starts_daemon=False)
    state.take(answer.prompts)
