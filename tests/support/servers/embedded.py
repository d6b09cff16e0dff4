"""Embedded models with the packaged weights, in a test's own directories."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
from support.drivers.model_requests import question

from oblixd.models.embedded.connection import EmbeddedConnection, EmbeddedModels, EmbeddedSettings
from oblixd.models.hook_spec import spec_of

LONG = question("Write a long story about a river.", seed=1, temperature=0.0)
SHORT = question("Say hello.", seed=1, temperature=0.0, max_tokens=8)
NAME = "smollm2-135m-instruct"

Connect = Callable[..., EmbeddedConnection]


@asynccontextmanager
async def connecting(runtime_dir: Path, state_dir: Path) -> AsyncIterator[Connect]:
    """Makes connections, `beside` another one in the same room, whose processes end with the block."""
    made: dict[EmbeddedConnection, EmbeddedModels] = {}

    def connect(
        name: str = NAME, beside: EmbeddedConnection | None = None, **settings: object
    ) -> EmbeddedConnection:
        base = EmbeddedSettings(runtime_dir, state_dir, context=2048, threads=1)
        models = made[beside] if beside else EmbeddedModels(replace(base, **settings))
        connection = models.connect(spec_of("embedded", name))
        made[connection] = models
        return connection

    yield connect
    for connection in made:
        await connection.close()


def process_of(connection: EmbeddedConnection) -> psutil.Process:
    """The process that serves a model."""
    assert connection.pid is not None
    return psutil.Process(connection.pid)
