"""Who may call over TCP and HTTP: tokens by name, what each may do, and how often a client may call.

Calls over the daemon's socket need no token: whoever can open it is the user.
"""

from oblixd.access.certificates import ServerCertificate, load_certificate
from oblixd.access.client_limits import ClientLimits, Limits
from oblixd.access.listeners import ListenAddress, parse_address
from oblixd.access.tokens import (
    LOCAL_TOKEN,
    Scope,
    Token,
    TokenFailure,
    TokenStore,
    UnauthorizedError,
    check_scope,
)

__all__ = [
    "LOCAL_TOKEN",
    "ClientLimits",
    "Limits",
    "ListenAddress",
    "Scope",
    "ServerCertificate",
    "Token",
    "TokenFailure",
    "TokenStore",
    "UnauthorizedError",
    "check_scope",
    "load_certificate",
    "parse_address",
]
