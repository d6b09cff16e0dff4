"""A real daemon of a test's own: started, asked, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

WAIT_S = 60.0
SOON = (("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 50))
"""A daemon that is just starting is looked for often."""


class RunningDaemon:
    """`python -m oblixd` in a home of its own, serving; `prefix` is the command that it is started by."""

    def __init__(self, home: Path, environ: dict[str, str], prefix: Sequence[str] = ()) -> None:
        self.home = home
        self.socket = home / "oblixd.sock"
        self.errors = home / "stderr"
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "oblixd"],
                env={**os.environ, "OBLIX_HOME": str(home), **environ},
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        self.channel = grpc.insecure_channel(f"unix:{self.socket}", options=SOON)

    def wait_until_serving(self) -> None:
        """Returns once health says SERVING; fails with what the daemon wrote if it ends before."""
        until = time.monotonic() + WAIT_S
        while self.process.poll() is None and time.monotonic() < until:
            try:
                self._check_health()
            except grpc.RpcError:
                time.sleep(0.02)  # the socket is not there yet, and nothing announces it
            else:
                return
        raise AssertionError(f"the daemon does not serve: {self.errors.read_text()}")

    def kill(self) -> None:
        """As `kill -9` does: nothing is cleaned up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(WAIT_S)

    def end(self) -> int:
        """As a service manager does. Returns the exit code."""
        self.channel.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def _check_health(self) -> None:
        request = health_pb2.HealthCheckRequest()
        reply = health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=5)
        if reply.status != health_pb2.HealthCheckResponse.SERVING:
            raise AssertionError(reply)


@contextmanager
def run_daemon(home: Path, **environ: str) -> Iterator[RunningDaemon]:
    """A daemon for a block; it is told to end afterwards, whatever happened to it in between."""
    daemon = RunningDaemon(home, environ)
    try:
        daemon.wait_until_serving()
        yield daemon
    finally:
        daemon.end()
