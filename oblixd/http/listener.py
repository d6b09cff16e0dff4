"""Open and close the HTTP endpoint while the daemon runs. What it needs is imported when it opens."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from oblixd.errors import FailedPreconditionError
from oblixd.http.settings import HttpServices, HttpSettings
from oblixd.models.http import loops

if TYPE_CHECKING:
    from oblixd.http.endpoint import HttpEndpoint

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - it needs TLS


class HttpListener:
    """Opens and closes the endpoint while the daemon runs."""

    def __init__(self, settings: HttpSettings, services: HttpServices) -> None:
        self._settings = settings
        self._services = services
        self._endpoint: HttpEndpoint | None = None
        self._changing = asyncio.Lock()

    @property
    def url(self) -> str:
        """Return the open endpoint's base URL; empty while it is closed."""
        return self._url(self._endpoint.port) if self._endpoint else ""

    @property
    def configured_url(self) -> str:
        """Return the base URL that `open` would give without a port."""
        return self._url(self._settings.address.port)

    def _url(self, port: int) -> str:
        address = self._settings.address
        scheme = "https" if address.certificate else "http"
        # Who listens everywhere is reached by the machine's name.
        host = socket.gethostname() if address.host in _EVERYWHERE else address.host
        return f"{scheme}://{replace(address, host=host, port=port).target}"

    async def open(self, port: int = 0) -> str:
        """Open the endpoint, on the configured port for 0, and return its base URL.

        Raises FailedPreconditionError PORT_TAKEN, or ENDPOINT_OPEN where it is open on another port.
        """
        async with self._changing:
            if self._endpoint is None:
                self._endpoint = await self._start_endpoint(port or self._settings.address.port)
            elif port not in (0, self._endpoint.port):
                message = f"The endpoint is open at {self.url}: close it first, or use that address."
                raise FailedPreconditionError("ENDPOINT_OPEN", message, url=self.url)
        return self.url

    async def close(self) -> None:
        """Close the endpoint, where it is open."""
        async with self._changing:
            endpoint, self._endpoint = self._endpoint, None
            if endpoint is not None:
                loops.closed(self._settings.address.host, endpoint.port)
                await endpoint.close()

    async def _start_endpoint(self, port: int) -> HttpEndpoint:
        # The HTTP library takes a while to import, and a daemon without the endpoint should not pay for it.
        from oblixd.http.endpoint import HttpEndpoint  # noqa: PLC0415

        settings = replace(self._settings, address=replace(self._settings.address, port=port))
        endpoint = HttpEndpoint(settings, self._services)
        await endpoint.start()
        loops.listening(settings.address.host, endpoint.port)
        return endpoint
