"""Runs `oblix` in processes of their own without its imports being paid for each time.

A server process imports the command once, and forks for each call: the child gets the caller's
environment, working directory and standard streams, then runs as if it had been started afresh. What is
about a fresh start (its time, its imports, closed streams, signals from a terminal) is tested without it.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

import grpc  # noqa: F401 -- the clients import it late
import oblix.cli

MAX_REQUEST = 1 << 20
STREAMS = 3


class CommandServer:
    """The caller's side. One for all tests of a worker; `close` ends the server."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd="/")
        self._ours = ours

    def run(
        self, words: list[str], *, stdin: str, environ: dict[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `oblix WORDS`, as `subprocess.run` with captured output does."""
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            given.write(stdin.encode())
            given.seek(0)
            reply, remote = socket.socketpair()
            with reply, remote:
                order = {"words": words, "environ": environ, "cwd": str(Path.cwd())}
                streams = [given.fileno(), out.fileno(), err.fileno(), remote.fileno()]
                socket.send_fds(self._ours, [json.dumps(order).encode()], streams)
                remote.close()
                reply.settimeout(timeout)
                code = int(reply.recv(16))
            texts = [_text(stream) for stream in (out, err)]
        return subprocess.CompletedProcess(["oblix", *words], code, *texts)

    def close(self) -> None:
        """End the server; a command that still runs goes on."""
        self._ours.close()
        self._process.wait()


def _text(stream: Any) -> str:
    stream.seek(0)
    return str(stream.read().decode())


def serve(orders: socket.socket) -> None:
    """Fork for each order until the caller has gone. The exit code goes to the order's own socket."""
    import_everything()
    waiting = selectors.DefaultSelector()
    waiting.register(orders, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is orders:
                data, descriptors, _, _ = socket.recv_fds(orders, MAX_REQUEST, STREAMS + 1)
                if not data:
                    return
                pid = os.fork()
                if not pid:
                    run_command(json.loads(data), descriptors)
                for descriptor in descriptors[:STREAMS]:
                    os.close(descriptor)
                ended = os.pidfd_open(pid)
                waiting.register(ended, selectors.EVENT_READ, (pid, descriptors[STREAMS]))
            else:
                waiting.unregister(key.fileobj)
                os.close(key.fd)
                pid, reply = key.data
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.write(reply, str(code).encode())
                os.close(reply)


def import_everything() -> None:
    """Import what commands import late. No thread may be there at the fork, so nothing is called."""
    for module in pkgutil.walk_packages(oblix.cli.__path__, "oblix.cli."):
        importlib.import_module(module.name)


def run_command(order: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Become the command. Never returns: `main` ends the process, and so does what it raises."""
    for number, descriptor in enumerate(descriptors[:STREAMS]):
        os.dup2(descriptor, number)
    os.closerange(STREAMS, max(descriptors) + 1)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    sys.argv = ["oblix", *order["words"]]
    oblix.cli.main()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
