"""What the parts take by themselves: `bare_daemon.py SOCKET URL` answers Execute with one POST.

It records nothing, decides nothing and checks nothing: a floor, and no proposal. Its sessions are the last 50
that it was sent, and it appends to nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from collections.abc import AsyncIterator

import aiohttp
import grpc
from oblix.v1 import executions_pb2, executions_pb2_grpc, sessions_pb2, sessions_pb2_grpc


class Bare(executions_pb2_grpc.ExecutionServiceServicer):
    """Passes the server's text on."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._session = session

    async def Execute(  # noqa: N802 - the contract's name
        self, request: executions_pb2.ExecuteRequest, context: object
    ) -> AsyncIterator[executions_pb2.ExecuteResponse]:
        """See the contract. What arrives together leaves together."""
        body = {
            "model": request.model,
            "stream": True,
            "messages": [{"role": "user", "content": "hello"}],
        }
        rest = b""
        async with self._session.post(self._url, json=body) as response:
            while read := await response.content.readany():
                *events, rest = (rest + read).split(b"\n\n")
                if text := "".join(map(_text, events)):
                    delta = executions_pb2.ExecutionDelta(text=text)
                    yield executions_pb2.ExecuteResponse(delta=delta)


class BareSessions(sessions_pb2_grpc.SessionServiceServicer):
    """Calls that do nothing."""

    def __init__(self) -> None:
        self._last = deque[sessions_pb2.Session](maxlen=50)
        self._listed = sessions_pb2.ListSessionsResponse()
        self._appended = sessions_pb2.AppendMessagesResponse()

    async def CreateSession(  # noqa: N802 - the contract's name
        self, request: sessions_pb2.CreateSessionRequest, context: object
    ) -> sessions_pb2.CreateSessionResponse:
        """Keep it, to be listed."""
        self._last.append(request.session)
        self._listed = sessions_pb2.ListSessionsResponse(sessions=self._last)
        return sessions_pb2.CreateSessionResponse(session=request.session)

    async def ListSessions(  # noqa: N802 - the contract's name
        self, request: sessions_pb2.ListSessionsRequest, context: object
    ) -> sessions_pb2.ListSessionsResponse:
        """Return the last 50 that came."""
        return self._listed

    async def AppendMessages(  # noqa: N802 - the contract's name
        self, request: sessions_pb2.AppendMessagesRequest, context: object
    ) -> sessions_pb2.AppendMessagesResponse:
        """Append to nothing."""
        return self._appended


def _text(event: bytes) -> str:
    if not event.startswith(b"data: {"):
        return ""
    return "".join(choice["delta"].get("content", "") for choice in json.loads(event[6:])["choices"])


async def _serve(socket: str, url: str) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        server = grpc.aio.server()
        executions_pb2_grpc.add_ExecutionServiceServicer_to_server(Bare(url, session), server)
        sessions_pb2_grpc.add_SessionServiceServicer_to_server(BareSessions(), server)
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:3]))
