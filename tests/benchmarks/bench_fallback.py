"""What it costs that other models could answer: the good path with three candidates and with one, in turn."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from measure import Line, report
from oblix.testing import Answer, OllamaServer
from oblix.v1 import executions_pb2, executions_pb2_grpc, messages_pb2
from support.drivers.daemon import run_daemon
from support.drivers.grpc_calls import Wire

ROUNDS = 400
MOST = 1.2


def main() -> int:
    """The first of three answers each time; the others are hooked and well."""
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as home,
        OllamaServer(["llama2", "one", "two"]) as server,
        run_daemon(Path(home), OBLIX_EMBEDDED_ENABLED="false") as daemon,
    ):
        server.default = lambda _: Answer("Hello there, how are you today?")
        wire = Wire(daemon.channel)
        handles = [wire.hook(server.url, name) for name in ("llama2", "one", "two")]
        rounds = [
            (ask_ms(wire.executions, handles[:1]), ask_ms(wire.executions, handles)) for _ in range(ROUNDS)
        ]
    alone, among = (statistics.median(own) for own in zip(*rounds[ROUNDS // 10 :], strict=True))
    return report(
        "The good path",
        [
            Line("a whole answer, one candidate", alone, "ms"),
            Line("the same, three candidates", among, "ms"),
            Line("ratio", among / alone, "times", MOST),
        ],
    )


def ask_ms(stub: executions_pb2_grpc.ExecutionServiceStub, handles: list[str]) -> float:
    """Milliseconds to the end of an answer."""
    given = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="Hi")])
    request = executions_pb2.ExecuteRequest(input=[given], candidates=handles)
    began = time.perf_counter()
    events = list(stub.Execute(request))
    took = (time.perf_counter() - began) * 1e3
    assert not events[-1].completed.failed_attempts
    return took


if __name__ == "__main__":
    raise SystemExit(main())
