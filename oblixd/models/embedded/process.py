"""One process of the embedded model, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import os
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from oblixd.models.embedded.weights import engine_path
from oblixd.models.http.client import HttpClient
from oblixd.models.http.server import Server, ServerErrors, Timeouts

START_S = 300.0
"""How long loading may take: large files come from slow disks."""
STOP_S = 2.0
"""How long a process may take to end before it is killed."""
_TIMEOUT = Timeouts(connect_s=5.0, first_s=600.0, stall_s=120.0)
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
_LAST_LINES = 20
_LONGEST_LINE = 500
logger = logging.getLogger(__name__)
Stream = TypeVar("Stream")


class Pooling(enum.Enum):
    """How the vectors of a text's tokens become one."""

    OWN = "own"
    """As the file says."""
    MEAN = "mean"
    """Their mean, where it does not say."""


class WorkerError(Exception):
    """The process did not get as far as serving. The message says why."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How the process is to serve."""

    model: Path
    socket_path: Path
    """In a directory of ours with mode 0700; ends in .sock."""
    context: int
    """Tokens for each slot."""
    slots: int
    """Answers at the same time."""
    threads: int
    """0: half of the processors. Threads in lockstep crawl where each does not have one to itself."""
    cache_bytes: int = 64 << 20
    """For the prompts of other conversations, so that changing between them is quick."""
    temperature: float | None = None
    """For requests that do not say. None: llama.cpp's own default."""
    repeat_penalty: float | None = None
    """The same, for words that were said already. 1: none."""
    pooling: Pooling | None = None
    """How it makes vectors of texts. None: it answers prompts."""


class Worker:
    """A process that serves, and the connections to it."""

    def __init__(
        self, process: asyncio.subprocess.Process, http: HttpClient, errors: asyncio.Task[None]
    ) -> None:
        self.http = http
        self._process = process
        self._errors = errors

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.returncode is None

    async def wait_end(self, within_s: float) -> str:
        """Say how it ended, as in `signal 9`; empty where it still runs after so long."""
        try:
            async with asyncio.timeout(within_s):
                code = await self._process.wait()
        except TimeoutError:
            return ""
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    async def stop(self) -> None:
        """End it and wait for that. Running answers fail."""
        await self.http.close()
        await _end(self._process)
        await self._errors
        if self.http.server.socket_path is not None:
            self.http.server.socket_path.unlink(missing_ok=True)


async def start(settings: WorkerSettings, server_errors: ServerErrors) -> Worker:
    """Start a process and wait until it serves. Raises WorkerError; cancelled, it leaves nothing behind."""
    settings.socket_path.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        *_command(settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
        cwd="/",
        start_new_session=True,
    )
    last: deque[str] = deque(maxlen=_LAST_LINES)
    errors = asyncio.create_task(_relay(process, last))
    try:
        await _serving(process, last, errors)
    except BaseException:
        # While it loads it would not hear that it is to end; nothing is lost with it.
        _kill(process)
        await process.wait()
        await errors
        raise
    server = Server(server_errors, "http://embedded", socket_path=settings.socket_path, timeouts=_TIMEOUT)
    return Worker(process, HttpClient(server), errors)


def _environment() -> dict[str, str]:
    """Return what the process gets of ours, and where the engine is, if this environment has none."""
    given = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return given | ({"PYTHONPATH": place} if (place := engine_path()) else {})


def _command(settings: WorkerSettings) -> list[str]:
    options: dict[str, object] = {
        "--model": settings.model,
        "--socket": settings.socket_path,
        "--context": settings.context,
        "--slots": settings.slots,
        "--cache-mib": settings.cache_bytes >> 20,
        "--threads": settings.threads or max(1, (os.cpu_count() or 1) // 2),
    }
    if settings.temperature is not None:
        options["--temperature"] = settings.temperature
    if settings.repeat_penalty is not None:
        options["--repeat-penalty"] = settings.repeat_penalty
    if settings.pooling is not None:
        options["--pooling"] = settings.pooling.value
    flat = [str(word) for pair in options.items() for word in pair]
    return [sys.executable, "-P", "-m", "oblixd.models.embedded.worker", *flat]


async def _serving(process: asyncio.subprocess.Process, last: deque[str], errors: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(START_S):
            line = await _pipe(process.stdout).readline()
    except TimeoutError:
        raise WorkerError(f"it was not loaded within {START_S:g} s") from None
    if not line.startswith(b"ready"):
        await asyncio.shield(errors)
        raise WorkerError(_cause(last))


async def _relay(process: asyncio.subprocess.Process, last: deque[str]) -> None:
    """Pass on what it writes to standard error, line by line and bounded."""
    while True:
        try:
            line = await _pipe(process.stderr).readline()
        except ValueError:
            # Longer than the reader's limit; it has been dropped.
            continue
        if not line:
            return
        text = line.decode("utf-8", "replace").strip()[:_LONGEST_LINE]
        last.append(text)
        logger.info("embedded model: %s", text)


async def _end(process: asyncio.subprocess.Process) -> None:
    _pipe(process.stdin).close()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        _kill(process)
        await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    # It may have ended by itself.
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _pipe(stream: Stream | None) -> Stream:
    if stream is None:
        raise WorkerError("its streams are not connected to us")
    return stream


def _cause(last: deque[str]) -> str:
    """Give the first error that it wrote: the later ones follow from it."""
    errors = (line.partition(" E ")[2] for line in last if " E " in line)
    return next(errors, last[-1] if last else "it said nothing")
