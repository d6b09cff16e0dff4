"""Asks the daemon's gRPC health service, as a container's health check does.

python -m oblix.health

Exit code 0: it serves. 1: it does not, or nobody listens; one line says which. No daemon is started.
"""

from __future__ import annotations

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from oblix._launcher.address import address_of
from oblix.errors import OblixError

TIMEOUT_S = 4.0


def main() -> int:
    """Ask once, and return the exit code."""
    try:
        address = address_of(None, None)
        metadata = address.metadata()
        with address.open_channel(()) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S, metadata=metadata
            )
    except grpc.RpcError as error:
        return _tell(f"no daemon answers: {error.details() if isinstance(error, grpc.Call) else error}")
    except OblixError as error:
        return _tell(error.message)
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return 0 if status == "SERVING" else _tell(f"it is {status}")


def _tell(why: str) -> int:
    sys.stderr.write(f"oblix: {why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
