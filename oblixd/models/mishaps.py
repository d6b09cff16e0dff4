"""Names what failed before the head of an answer: for a person, and for who watches the way there."""

from __future__ import annotations

import errno

import aiohttp

from oblixd.models.base import ModelError
from oblixd.models.exchanges import Failure
from oblixd.models.failures import Peer
from oblixd.models.outbound import Way
from oblixd.models.waiting import Wait

_NOBODY_LISTENS = {errno.ECONNREFUSED, errno.ENOENT}


def named(peer: Peer, error: Exception, wait: Wait, way: Way) -> tuple[Failure, ModelError]:
    """Name a failure.

    The library's own error holds our headers, and so the key: it goes no further than here.
    """
    match error:
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError() if way.proxy is not None:
            return Failure.UNREACHABLE, peer.unreachable(_of_proxy(error, way.proxy.url), "")
        case aiohttp.ClientConnectorError() if error.os_error.errno in _NOBODY_LISTENS:
            return Failure.REFUSED, peer.refused(way.hint)
        case aiohttp.ClientResponseError():
            return Failure.GARBLED, peer.broken("it is not an HTTP answer")
        case TimeoutError() if not isinstance(error, aiohttp.ConnectionTimeoutError):
            return Failure.SILENT, peer.silent(wait.limit_s)
    failure, why = _on_the_way(error, wait)
    if way.proxy is not None:
        why = f"{why} (by the proxy {way.proxy.url})"
    return failure, peer.unreachable(why, way.hint)


def _of_proxy(error: Exception, proxy: str) -> str:
    """Say what the proxy itself did."""
    if not isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy {proxy} can't be reached ({_reason(error)}): check network.proxy"
    match error.status:
        case 407:
            why = "wants a user and a password: write http://USER:PASSWORD@HOST:PORT in network.proxy"
        case 403 | 405 | 451:
            why = "does not let it through: ask those who run the proxy"
        case 502 | 503 | 504:
            why = "can't reach it either"
        case status:
            why = f"answered {status}"
    return f"the proxy {proxy} {why}"


def _on_the_way(error: Exception, wait: Wait) -> tuple[Failure, str]:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Failure.DNS, "there is no such host"
        case aiohttp.ClientConnectorCertificateError():
            return Failure.TLS, _untrusted(error)
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            return Failure.TLS, f"TLS failed ({_reason(error)})"
        case aiohttp.ConnectionTimeoutError():
            return Failure.CONNECT_TIMEOUT, f"no connection came about within {wait.connect_s:g} s"
        case aiohttp.ClientConnectorError():
            return Failure.UNREACHABLE, _reason(error)
    return Failure.LOST, "the connection was lost before an answer came"


def _untrusted(error: aiohttp.ClientConnectorCertificateError) -> str:
    reason = getattr(error.certificate_error, "verify_message", "") or "certificate verify failed"
    return (
        f"its certificate is not trusted ({reason}). If a company's own authority signs certificates here, "
        "name its file in network.ca_file"
    )


def _reason(error: Exception) -> str:
    os_error = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    return str(getattr(os_error, "strerror", None) or type(os_error).__name__)
