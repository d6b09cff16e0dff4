"""What calls over TCP pass before anything of them is read: a token, its scope, and no web page.

Calls over the socket do not come here: whoever can open it is the user. Which authority (`:authority`) a call
names can't be checked, because Python's gRPC shows it to no server; a web page that rebinds its name to this
machine still has no token, and still sends an `origin`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any

import grpc

from oblixd.access import Scope, Token, TokenStore, check_scope
from oblixd.errors import PermissionDeniedError

CALLER_TOKEN: ContextVar[Token | None] = ContextVar("caller_token", default=None)
"""The token of the call that runs here. None: it came over the socket."""
PAGES = frozenset({"origin", "referer", "sec-fetch-site"})
"""Metadata that only a browser sends."""
_READ = (
    *(
        "GetInfo",
        "GetUsage",
        "GetMetrics",
        "GetEndpoint",
        "AttachExecution",
        "ListExecutions",
        "ExplainRoute",
    ),
    *("ListModels", "GetModel", "GetSnapshot", "WatchSnapshots", "GetHistory"),
    *("GetSession", "ListSessions", "ListMessages", "ListMessageVersions", "ExportSessions"),
    *("SearchMessages", "WatchSessions"),
)
_EXECUTE = (
    *("Execute", "EmbedTexts", "CancelExecution", "HookModel", "UnhookModel"),
    *("CreateSession", "UpdateSession", "DeleteSession", "UndeleteSession", "DeleteMessages", "EditMessage"),
    *(
        "ExcludeMessages",
        "IncludeMessages",
        "AppendMessages",
        "CopySession",
        "MergeSessions",
        "ImportSessions",
    ),
)
SCOPES: Mapping[str, Scope] = {**dict.fromkeys(_READ, Scope.READ), **dict.fromkeys(_EXECUTE, Scope.EXECUTE)}
"""What each method needs. One that is not here needs `admin`."""
OPEN_TO_ALL_TOKENS = ("/grpc.health.", "/grpc.reflection.")


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Lets a call through that carries a token which may make it."""

    def __init__(self, tokens: TokenStore, refuse: Callable[[Any, Exception], Awaitable[object]]) -> None:
        """`refuse` ends a call with an error."""
        self._tokens = tokens
        self._refuse = refuse

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        """Return what handles the call, or what refuses it."""
        try:
            CALLER_TOKEN.set(self._admit(details.method, details.invocation_metadata or ()))
        except Exception as error:  # noqa: BLE001 - each becomes a status with a reason
            return self._refusal(error)
        return await continuation(details)

    def _admit(self, method: str, metadata: Any) -> Token:
        given = {key: value for key, value in metadata if isinstance(value, str)}
        if not PAGES.isdisjoint(given):
            raise PermissionDeniedError("ORIGIN_REFUSED", "oblixd takes no calls from web pages.")
        bearer = given.get("authorization", "")
        token = self._tokens.authorize(bearer[7:].strip() if bearer[:7].lower() == "bearer " else "")
        if not method.startswith(OPEN_TO_ALL_TOKENS):
            name = method.rpartition("/")[2]
            check_scope(token, SCOPES.get(name, Scope.ADMIN), name)
        return token

    def _refusal(self, error: Exception) -> Any:
        async def handle(_raw: object, context: Any) -> AsyncIterator[object]:
            await self._refuse(context, error)
            yield b""

        return grpc.stream_stream_rpc_method_handler(handle, None, None)


def is_local_only() -> bool:
    """Return whether the token of the call that runs here reaches local models only."""
    token = CALLER_TOKEN.get()
    return token is not None and token.local_only
