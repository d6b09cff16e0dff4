"""Whether a daemon serves."""

from __future__ import annotations

import socket

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from oblix._peer import to_path

TIMEOUT_S = 2.0


def is_serving(target: str) -> bool:
    """Ask for the health of what listens at `unix:PATH`. False where nothing does, or it does not serve."""
    return _accepts(to_path(target)) and _is_healthy(target)


def _accepts(path: str) -> bool:
    """A plain connection first: it is refused at once where nobody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(TIMEOUT_S)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _is_healthy(target: str) -> bool:
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S, wait_for_ready=True
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
