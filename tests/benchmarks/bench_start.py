"""What the command's start costs, by whole process: against Python alone, and against one bare gRPC call."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from measure import Line, paired_ms, report
from support.drivers.daemon import running

ROUNDS = 20
BARE = """
import sys
import grpc
from oblix.v1 import sessions_pb2, sessions_pb2_grpc
stub = sessions_pb2_grpc.SessionServiceStub(grpc.insecure_channel(f"unix:{sys.argv[1]}/oblixd.sock"))
for session in stub.ListSessions(sessions_pb2.ListSessionsRequest(page_size=51)).sessions:
    print(session.id, session.title)
sys.stdout.flush()
import os
os._exit(0)
"""
"""The same list as `oblix sessions` gives, by the same stubs, and nothing else."""


def main() -> int:
    """All in turn, in one run; the daemon runs, as it does on a workstation."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home, running(Path(home), OBLIX_EMBEDDED_ENABLED="false"):
        environ = {**os.environ, "OBLIX_HOME": home}
        oblix = str(Path(sys.executable).with_name("oblix"))
        sides = [
            [sys.executable, "-c", "pass"],
            [oblix, "--version"],
            [sys.executable, "-c", BARE, home],
            [oblix, "sessions"],
        ]
        python, version, bare, sessions = paired_ms([_runner(words, environ) for words in sides], ROUNDS)
    return report(
        "Whole processes: ms",
        [
            Line("python -c pass", python, "ms"),
            Line("oblix --version", version, "ms"),
            Line("oblix --version / python -c pass", version / python, "x", 3.0),
            Line("one bare gRPC call", bare, "ms"),
            Line("oblix sessions", sessions, "ms"),
            Line("oblix sessions / one bare call", sessions / bare, "x", 1.25),
        ],
    )


def _runner(words: list[str], environ: dict[str, str]) -> Callable[[], object]:
    return lambda: subprocess.run(words, check=True, env=environ, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    raise SystemExit(main())
