"""The gRPC server: our services, health and reflection on a Unix socket, and on TCP where that
is configured."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from urllib.parse import quote

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from oblix.v1 import (
    daemon_pb2_grpc,
    embeddings_pb2_grpc,
    endpoint_pb2_grpc,
    executions_pb2_grpc,
    models_pb2_grpc,
    monitor_pb2_grpc,
    sessions_pb2_grpc,
)

from oblixd.access import ClientLimits, ListenAddress, TokenStore, load_certificate
from oblixd.client_memory import ClientMemory
from oblixd.errors import FailedPreconditionError
from oblixd.rpc.daemon import MAX_REQUEST_BYTES, DaemonServicer
from oblixd.rpc.edge import Edge, OnCall, abort
from oblixd.rpc.embeddings import EmbeddingServicer
from oblixd.rpc.endpoint import EndpointServicer
from oblixd.rpc.executions import ExecutionServicer
from oblixd.rpc.guard import TokenInterceptor
from oblixd.rpc.models import ModelServicer
from oblixd.rpc.monitor import MonitorServicer
from oblixd.rpc.reflection import add_reflection
from oblixd.rpc.sessions import SessionServicer

MAX_METADATA_BYTES = 16 << 10
UNREAD_BYTES = 64 << 10
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    # gRPC refuses what is between the two at random: with one value for both nothing is left to chance.
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    # A message that nobody reads yet stays with its sender, but for so much of it.
    ("grpc.http2.lookahead_bytes", UNREAD_BYTES),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.so_reuseport", 0),
)
HANDSHAKE_MS = 10_000
"""A connection over TCP that has not begun to speak HTTP/2 after so long is closed."""
MAX_TCP_CONNECTIONS = 8192
"""Connections over TCP at the same time; more are closed at once, so that descriptors stay bounded."""
MAX_PENDING, PENDING_S = 50_000, 300
"""Calls that may wait until the event loop takes them in, and how long in seconds. By itself gRPC cancels
what is beyond 1,000 to 3,000 calls, or waits for more than 30 s, with CANCELLED and no word: ten thousand
prompts at once are then lost on a busy machine."""
_SOCKET_OPTIONS = (
    ("grpc.server.max_pending_requests", MAX_PENDING),
    ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING),
    ("grpc.server_max_unrequested_time_in_server", PENDING_S),
)
_TCP_OPTIONS = (
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    ("grpc.max_allowed_incoming_connections", MAX_TCP_CONNECTIONS),
)
_OWNER_ONLY = 0o177
logger = logging.getLogger(__name__)

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class Server:
    """Serves on a socket that only this user can open, and on TCP to who has a token."""

    def __init__(
        self, on_call: OnCall, memory: ClientMemory, limits: ClientLimits, tokens: TokenStore
    ) -> None:
        self._server = grpc.aio.server(options=(*_OPTIONS, *_SOCKET_OPTIONS))
        # A server of its own: what checks tokens costs calls over the socket nothing.
        guard = TokenInterceptor(tokens, abort)
        self._tcp = grpc.aio.server(options=(*_OPTIONS, *_TCP_OPTIONS), interceptors=[guard])
        self._tokens = tokens
        self._edge = Edge((self._server, self._tcp), on_call, memory, limits)
        self.addresses: list[str] = []
        """Where it listens on TCP, as `tcp://127.0.0.1:4321` or `tls://HOST:PORT`."""
        self.problems: list[str] = []
        """Why it does not listen where it should, each with what to do."""
        self._health = health.HealthServicer()

    def add(
        self,
        *,
        executions: ExecutionServicer,
        embeddings: EmbeddingServicer,
        sessions: SessionServicer,
        models: ModelServicer,
        monitor: MonitorServicer,
        daemon: DaemonServicer,
        endpoint: EndpointServicer,
    ) -> None:
        """Register the services."""
        # Generated code wants a server, and calls only what the edge has.
        registrar = cast("grpc.aio.Server", self._edge)
        executions_pb2_grpc.add_ExecutionServiceServicer_to_server(executions, registrar)
        embeddings_pb2_grpc.add_EmbeddingServiceServicer_to_server(embeddings, registrar)
        sessions_pb2_grpc.add_SessionServiceServicer_to_server(sessions, registrar)
        models_pb2_grpc.add_ModelServiceServicer_to_server(models, registrar)
        monitor_pb2_grpc.add_MonitorServiceServicer_to_server(monitor, registrar)
        daemon_pb2_grpc.add_DaemonServiceServicer_to_server(daemon, registrar)
        endpoint_pb2_grpc.add_EndpointServiceServicer_to_server(endpoint, registrar)
        servers = (self._server, self._tcp)
        for server in servers:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        add_reflection([*self._edge.services, _HEALTH], servers)

    async def start(self, socket: Path) -> None:
        """Listen, and say so by health. A socket that a dead daemon left is replaced.
        FailedPreconditionError where something else is in its place, or where it can't listen.

        The caller holds the daemon's lock: whoever left the socket is gone.
        """
        _clear_place(socket)
        before = os.umask(_OWNER_ONLY)
        try:
            self._server.add_insecure_port(f"unix:{quote(os.fsencode(socket))}")
            await self._server.start()
        except RuntimeError as error:
            raise _unusable(socket, error) from error
        finally:
            os.umask(before)
        await self._serving(health_pb2.HealthCheckResponse.SERVING)

    async def listen(self, addresses: Sequence[ListenAddress]) -> None:
        """Listen on TCP, too. A port that somebody else holds is logged loudly: the socket serves all the
        same.

        Raises FailedPreconditionError for certificates that can't be used.
        """
        if not addresses:
            return
        credentials = [_credentials(address) for address in addresses]
        self._tokens.ensure_local()
        for address, one in zip(addresses, credentials, strict=True):
            self._add_port(address, one)
        await self._tcp.start()

    def _add_port(self, address: ListenAddress, credentials: grpc.ServerCredentials | None) -> None:
        try:
            if credentials is None:
                port = self._tcp.add_insecure_port(address.target)
            else:
                port = self._tcp.add_secure_port(address.target, credentials)
        except RuntimeError:
            problem = (
                f"oblixd does not listen on tcp://{address.target}: somebody else holds the port, "
                "or the address is "
                f"none of this machine's. `ss -ltnp sport = {address.port}` shows who. Clients "
                "that are sent there "
                "talk to that program: end it, or change [[listen]], then run `oblix restart`."
            )
            logger.error("%s", problem)  # noqa: TRY400 - a sentence for a person
            self.problems.append(problem)
            return
        scheme = "tcp" if credentials is None else "tls"
        self.addresses.append(f"{scheme}://{address.target.rpartition(':')[0]}:{port}")
        logger.info("serving on %s", self.addresses[-1])

    async def refuse(self) -> None:
        """Say by health that the daemon ends."""
        await self._serving(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let the others end within the grace."""
        await asyncio.gather(self._server.stop(grace_s), self._tcp.stop(grace_s))

    async def _serving(self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
        for service in ("", *self._edge.services):
            await self._health.set(service, status)


def _credentials(address: ListenAddress) -> grpc.ServerCredentials | None:
    if not address.certificate:
        return None
    shown = load_certificate(address)
    return grpc.ssl_server_credentials(
        [(shown.key, shown.chain)], shown.client_ca, require_client_auth=shown.client_ca is not None
    )


def _clear_place(socket: Path) -> None:
    """Remove the socket that a dead daemon left. FailedPreconditionError SOCKET_PLACE_TAKEN for others.

    Nothing is followed or removed that this daemon did not make: a link may lead to somebody else's file.
    """
    try:
        mode = socket.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISSOCK(mode):
        socket.unlink()
        return
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory", stat.S_IFREG: "a file"}
    what = kinds.get(stat.S_IFMT(mode), "something else")
    raise FailedPreconditionError(
        "SOCKET_PLACE_TAKEN",
        f"{socket} is {what}, and the daemon's socket belongs there: move it away, then start the daemon.",
        path=socket,
    )


def _unusable(socket: Path, error: Exception) -> FailedPreconditionError:
    return FailedPreconditionError(
        "SOCKET_UNUSABLE",
        f"The daemon can't listen on {socket} ({error}). Look at its directory and the disk, and at how many "
        "files this process may open (`ulimit -n`).",
        path=socket,
    )
