"""Whether a prompt's text may go to a model's server: decided here, once, at the moment when the bytes leave.

A prompt waits for its turn, for a slot, for a rate limit and for a connection, and is
sent again by retry, fallback and restart. Its session can become local-only at any of
these moments, and a name at an Ollama server can come to stand for a cloud model. So
nobody decides ahead: whoever sends text takes `Egress` along to `HttpClient.send`, which
asks it with the connection open, before the first byte and before each piece of a long body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from oblixd.models.base import Location, ModelError, ModelErrorKind

IsLocalOnly = Callable[[], bool]
"""Says whether a prompt's text must stay on this machine, as things stand when called. Raises nothing."""


def allow_all() -> bool:
    """Let text go anywhere: it is nobody's, as in a probe."""
    return False


class Destination(Protocol):
    """The model that text goes to."""

    provider: str
    name: str
    endpoint: str
    location: Location

    async def confirm_location(self) -> None:
        """See `Connection.confirm_location`."""


class UnconfirmedError(Exception):
    """The text became local-only after its way was opened: where the model runs was not asked."""


class Egress:
    """The way of one prompt's text to one model."""

    def __init__(self, destination: Destination, is_local_only: IsLocalOnly) -> None:
        self._destination = destination
        self._is_local_only = is_local_only
        self._is_confirmed = False

    async def open(self) -> None:
        """Have the server say where the model runs, if that matters now. Raises ModelError as `check`."""
        if self._is_local_only():
            await self._destination.confirm_location()
            self._is_confirmed = True
            self.check()

    def check(self) -> None:
        """Return where bytes may leave now.

        Raises ModelError REFUSED where they may not, UnconfirmedError where `open` must be called again.
        """
        if not self._is_local_only():
            return
        if not self._is_confirmed:
            raise UnconfirmedError
        destination = self._destination
        if destination.location is not Location.LOCAL:
            message = (
                f"{destination.provider}:{destination.name} answers from the cloud, and this request or its "
                "session is local-only: nothing was sent. Use a model that runs on this machine."
            )
            raise ModelError(ModelErrorKind.REFUSED, message, endpoint=destination.endpoint)
