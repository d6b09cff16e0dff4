"""Pulls: an Ollama server fetches a model, and whoever wants that model is told how far it is.

The server goes on where an earlier pull stopped, and stops when its connection closes
(https://github.com/ollama/ollama/blob/main/docs/api.md#pull-a-model).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from oblixd.models import hook_spec
from oblixd.models.base import ModelError, ModelErrorKind
from oblixd.models.hook_spec import HookSpec
from oblixd.models.http.client import HttpClient
from oblixd.models.http.connection import NetworkNow, adjust
from oblixd.models.http.event_stream import LineSplitter, TooLongError
from oblixd.models.http.outbound import NetworkConfig
from oblixd.models.http.server import Server, ServerErrors, Timeouts
from oblixd.models.providers.ollama import server_errors_of
from oblixd.models.providers.token_usage import count_of
from oblixd.models.streaming import read_object, text_of

TIMEOUTS = Timeouts(connect_s=5.0, first_s=120.0, stall_s=1800.0)
"""It says nothing while it checks what it fetched, which can take minutes."""
_DONE = "success"
_NO_SUCH_MODEL = "file does not exist"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is."""

    status: str
    """What the server does now, in its own words."""
    completed_bytes: int = 0
    """Of the current piece."""
    total_bytes: int = 0
    """Of the current piece. 0: not known."""
    digest: str = ""
    """The current piece."""


class Pulls:
    """The pulls that run. Several who want the same model share one."""

    def __init__(self, endpoint: str, network: NetworkNow = NetworkConfig) -> None:
        """`endpoint`: where a model is pulled that nobody hooked."""
        self._network = network
        self.endpoint = endpoint
        self._by_model: dict[tuple[str, str, str], _Pull] = {}

    def spec(self, name: str) -> HookSpec:
        """Describe a model that nobody hooked. Raises InvalidArgumentError."""
        return hook_spec.spec_of("ollama", name, endpoint=self.endpoint)

    async def pull(self, spec: HookSpec) -> AsyncGenerator[Progress, None]:
        """Tell how far a pull is until the model is there, starting it where nobody has.

        Who is slow is told the latest only. When the last listener goes, the pull
        stops. Raises ModelError.
        """
        key = (spec.endpoint, spec.name, spec.api_key)
        pull = self._by_model.get(key) or self._by_model.setdefault(key, _Pull(spec, self._network))
        pull.listeners += 1
        try:
            async for progress in pull.progress():
                yield progress
        finally:
            pull.listeners -= 1
            if not pull.listeners and self._by_model.get(key) is pull:
                del self._by_model[key]
                await pull.stop()


class _Pull:
    def __init__(self, spec: HookSpec, network: NetworkNow) -> None:
        self.listeners = 0
        self._network = network
        self._spec = spec
        self._steps = 0
        self._latest = Progress("")
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: self._tell())

    async def progress(self) -> AsyncGenerator[Progress, None]:
        told = 0
        while True:
            if told != self._steps:
                told = self._steps
                yield self._latest
            elif self._task.done():
                break
            else:
                await self._news.wait()
        self._task.result()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        spec = self._spec
        headers = {"Authorization": f"Bearer {spec.api_key}"} if spec.api_key else {}
        server_errors = server_errors_of(spec)
        server = Server(server_errors, spec.endpoint, headers, timeouts=TIMEOUTS)
        http = HttpClient(adjust(server, spec, self._network))
        try:
            await self._read(http, server_errors)
        except TooLongError:
            raise server_errors.broken_stream("it sent a line without end") from None
        finally:
            await http.close()

    async def _read(self, http: HttpClient, server_errors: ServerErrors) -> None:
        lines = LineSplitter()
        async with await http.request(
            "POST", "/api/pull", {"model": self._spec.name, "stream": True}
        ) as reply:
            if reply.status != HTTPStatus.OK:
                raise server_errors.error_response(reply.status, reply.headers, await reply.excerpt())
            while read := await reply.read():
                reply.progress()
                self._take(lines.feed(read), server_errors)
            self._take([lines.rest()], server_errors)
        if self._latest.status != _DONE:
            raise server_errors.broken_stream("the pull ended before the model was there")

    def _take(self, lines: list[bytes], server_errors: ServerErrors) -> None:
        for step in _steps(lines, server_errors):
            if error := text_of(step, "error"):
                raise self._failure(error, step, server_errors)
            self._latest = _progress(step)
            self._steps += 1
            self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _failure(self, error: str, step: Mapping[str, Any], server_errors: ServerErrors) -> ModelError:
        if _NO_SUCH_MODEL not in error:
            return server_errors.error_event(step)
        message = (
            f"Ollama's library has no model {self._spec.name}. Check the name at https://ollama.com/library."
        )
        return server_errors.error(ModelErrorKind.NOT_PULLED, message)


def _steps(lines: list[bytes], server_errors: ServerErrors) -> Iterator[Mapping[str, Any]]:
    return (read_object(line, server_errors) for line in lines if line.strip())


def _progress(step: Mapping[str, Any]) -> Progress:
    return Progress(
        text_of(step, "status"),
        count_of(step, "completed") or 0,
        count_of(step, "total") or 0,
        text_of(step, "digest"),
    )
