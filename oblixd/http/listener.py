"""Open and close the HTTP endpoint while the daemon runs. What it needs is imported when it opens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from oblixd.access import TokenStore
from oblixd.errors import FailedPreconditionError
from oblixd.execution import Executions
from oblixd.http.names import ModelNames
from oblixd.http.settings import HOST, HttpSettings
from oblixd.models.http import loops
from oblixd.sessions import Sessions

if TYPE_CHECKING:
    from oblixd.http.endpoint import HttpEndpoint


class HttpListener:
    """Opens and closes the endpoint while the daemon runs."""

    def __init__(
        self,
        settings: HttpSettings,
        tokens: TokenStore,
        *,
        executions: Executions,
        names: ModelNames,
        sessions: Sessions,
        metrics: Callable[[], str],
    ) -> None:
        """`metrics` gives what `/metrics` shows."""
        self._settings = settings
        self._tokens = tokens
        self._executions = executions
        self._names = names
        self._sessions = sessions
        self._metrics = metrics
        self._endpoint: HttpEndpoint | None = None
        self._changing = asyncio.Lock()

    @property
    def url(self) -> str:
        """Return the open endpoint's base URL; empty while it is closed."""
        return f"http://{HOST}:{self._endpoint.port}" if self._endpoint else ""

    @property
    def configured_url(self) -> str:
        """Return the base URL that `open` would give without a port."""
        return f"http://{HOST}:{self._settings.port}"

    async def open(self, port: int = 0) -> str:
        """Open the endpoint, on the configured port for 0, and return its base URL.

        Raises FailedPreconditionError PORT_TAKEN, or ENDPOINT_OPEN where it is open on another port.
        """
        async with self._changing:
            if self._endpoint is None:
                self._endpoint = await self._start_endpoint(port or self._settings.port)
            elif port not in (0, self._endpoint.port):
                message = f"The endpoint is open at {self.url}: close it first, or use that address."
                raise FailedPreconditionError("ENDPOINT_OPEN", message, url=self.url)
        return self.url

    async def close(self) -> None:
        """Close the endpoint, where it is open."""
        async with self._changing:
            endpoint, self._endpoint = self._endpoint, None
            if endpoint is not None:
                loops.closed(HOST, endpoint.port)
                await endpoint.close()

    async def _start_endpoint(self, port: int) -> HttpEndpoint:
        # The HTTP library takes a while to import, and a daemon without the endpoint should not pay for it.
        from oblixd.http.endpoint import HttpEndpoint  # noqa: PLC0415

        settings = replace(self._settings, port=port)
        endpoint = HttpEndpoint(
            settings,
            self._tokens,
            self._executions,
            self._names,
            self._sessions,
            metrics=self._metrics,
        )
        await endpoint.start()
        loops.listening(HOST, endpoint.port)
        return endpoint
