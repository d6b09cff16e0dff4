"""One connection to the daemon."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import grpc

from oblix._peer import Peer
from oblix._statuses import UNREACHABLE
from oblix.errors import UnavailableError
from oblix.v1 import (
    daemon_pb2_grpc,
    endpoint_pb2_grpc,
    executions_pb2_grpc,
    models_pb2_grpc,
    monitor_pb2_grpc,
    sessions_pb2_grpc,
)

MAX_ANSWER_BYTES = 64 * 1024 * 1024
CHANNEL_OPTIONS = (
    # Every channel has its own connections: made after a fork or a failure, it shares no broken state.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
)
PROGRAM_CHARACTERS = 100


class Link:
    """A channel of this process, and a stub for each service. The first call on it connects."""

    def __init__(self, target: str, client: str) -> None:
        self.channel = grpc.insecure_channel(target, CHANNEL_OPTIONS)
        self.metadata = (("oblix-client", client), ("oblix-program", _program()))
        self.daemon = daemon_pb2_grpc.DaemonServiceStub(self.channel)
        self.endpoint = endpoint_pb2_grpc.EndpointServiceStub(self.channel)
        self.executions = executions_pb2_grpc.ExecutionServiceStub(self.channel)
        self.models = models_pb2_grpc.ModelServiceStub(self.channel)
        self.monitor = monitor_pb2_grpc.MonitorServiceStub(self.channel)
        self.sessions = sessions_pb2_grpc.SessionServiceStub(self.channel)
        self._peer = Peer(target)

    @property
    def pid(self) -> int:
        """The daemon's process id; 0 where it is not known."""
        return self._peer.pid

    @property
    def has_ended(self) -> bool:
        """Whether the daemon is known to be gone."""
        return self._peer.has_ended

    def check(self) -> None:
        """Raise UnavailableError where the daemon is gone. Ask before a call is sent."""
        if self.has_ended:
            raise UnavailableError("oblixd has ended.", reason=UNREACHABLE)


def _program() -> str:
    name = Path(sys.argv[0]).name or "python"
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in name)
    return f"{printable[:PROGRAM_CHARACTERS]}/{os.getpid()}"
