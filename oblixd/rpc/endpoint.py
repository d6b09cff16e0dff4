"""EndpointService."""

from __future__ import annotations

import contextlib

from oblix.v1 import endpoint_pb2, endpoint_pb2_grpc

from oblixd.access import Scope, TokenStore
from oblixd.errors import NotFoundError, out_of_range
from oblixd.http import HttpListener
from oblixd.rpc.edge import Context

_MAX_PORT = 65_535
_SCOPES = {
    endpoint_pb2.TOKEN_SCOPE_UNSPECIFIED: Scope.EXECUTE,
    endpoint_pb2.TOKEN_SCOPE_READ: Scope.READ,
    endpoint_pb2.TOKEN_SCOPE_EXECUTE: Scope.EXECUTE,
    endpoint_pb2.TOKEN_SCOPE_ADMIN: Scope.ADMIN,
}


class EndpointServicer(endpoint_pb2_grpc.EndpointServiceServicer):
    """Open and close the HTTP endpoint, and keep its tokens."""

    def __init__(self, listener: HttpListener, tokens: TokenStore) -> None:
        self._listener = listener
        self._tokens = tokens

    async def OpenEndpoint(
        self, request: endpoint_pb2.OpenEndpointRequest, context: Context
    ) -> endpoint_pb2.OpenEndpointResponse:
        if not 0 <= request.port <= _MAX_PORT:
            raise out_of_range("INVALID_VALUE", "port", f"0 to {_MAX_PORT}", request.port)
        return endpoint_pb2.OpenEndpointResponse(url=await self._listener.open(request.port))

    async def GetEndpoint(
        self, request: endpoint_pb2.GetEndpointRequest, context: Context
    ) -> endpoint_pb2.GetEndpointResponse:
        return endpoint_pb2.GetEndpointResponse(
            url=self._listener.url, configured_url=self._listener.configured_url
        )

    async def CloseEndpoint(
        self, request: endpoint_pb2.CloseEndpointRequest, context: Context
    ) -> endpoint_pb2.CloseEndpointResponse:
        await self._listener.close()
        return endpoint_pb2.CloseEndpointResponse()

    async def CreateToken(
        self, request: endpoint_pb2.CreateTokenRequest, context: Context
    ) -> endpoint_pb2.CreateTokenResponse:
        if request.scope not in _SCOPES:
            raise out_of_range("INVALID_VALUE", "scope", "read, execute or admin", request.scope)
        if request.replace:
            with contextlib.suppress(NotFoundError):
                self._tokens.revoke(request.name)
        text = self._tokens.create(request.name, local_only=request.local_only, scope=_SCOPES[request.scope])
        return endpoint_pb2.CreateTokenResponse(text=text)

    async def ListTokens(
        self, request: endpoint_pb2.ListTokensRequest, context: Context
    ) -> endpoint_pb2.ListTokensResponse:
        result = endpoint_pb2.ListTokensResponse()
        for token in self._tokens.list():
            scope = endpoint_pb2.TokenScope.Value(f"TOKEN_SCOPE_{token.scope.upper()}")
            entry = result.tokens.add(name=token.name, local_only=token.local_only, scope=scope)
            entry.create_time.FromMicroseconds(round(token.created_s * 1e6))
        return result

    async def RevokeToken(
        self, request: endpoint_pb2.RevokeTokenRequest, context: Context
    ) -> endpoint_pb2.RevokeTokenResponse:
        self._tokens.revoke(request.name)
        return endpoint_pb2.RevokeTokenResponse()
