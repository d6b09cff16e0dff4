"""Names what failed before the head of an answer: for a person, and for who watches the way there."""

from __future__ import annotations

import errno

import aiohttp

from oblixd.models.base import ModelError
from oblixd.models.exchanges import Failure
from oblixd.models.failures import Peer
from oblixd.models.servers import Patience

_NOBODY_LISTENS = {errno.ECONNREFUSED, errno.ENOENT}


def named(peer: Peer, error: Exception, patience: Patience) -> tuple[Failure, ModelError]:
    """Name a failure.

    The library's own error holds our headers, and so the key: it goes no further than here.
    """
    match error:
        case aiohttp.ClientConnectorError() if error.os_error.errno in _NOBODY_LISTENS:
            return Failure.REFUSED, peer.refused()
        case aiohttp.ClientResponseError():
            return Failure.GARBLED, peer.broken("it is not an HTTP answer")
        case TimeoutError() if not isinstance(error, aiohttp.ConnectionTimeoutError):
            return Failure.SILENT, peer.silent(patience.first_s)
    failure, why = _on_the_way(error, patience)
    return failure, peer.unreachable(why)


def _on_the_way(error: Exception, patience: Patience) -> tuple[Failure, str]:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Failure.DNS, "there is no such host"
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            return Failure.TLS, f"TLS failed ({_reason(error)})"
        case aiohttp.ConnectionTimeoutError():
            return Failure.CONNECT_TIMEOUT, f"no connection came about within {patience.connect_s:g} s"
        case aiohttp.ClientConnectorError():
            return Failure.UNREACHABLE, _reason(error)
    return Failure.LOST, "the connection was lost before an answer came"


def _reason(error: Exception) -> str:
    os_error = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    return str(getattr(os_error, "strerror", None) or type(os_error).__name__)
