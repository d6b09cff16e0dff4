"""What the command's start costs, by whole process: against Python alone, and against one bare gRPC call.

Both the time on the clock and the processor's time are medians of runs in turn. The processor's time is held
against the limits: it is that of the process alone, whatever else the machine does and however long a model
takes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from measure import Line, report, serve_module
from support.drivers.daemon import run_daemon

ROUNDS = 20
LIST = """
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
STATUS = """
import sys
import grpc
from oblix.v1 import daemon_pb2, daemon_pb2_grpc, models_pb2, models_pb2_grpc, monitor_pb2, monitor_pb2_grpc
channel = grpc.insecure_channel(f"unix:{sys.argv[1]}/oblixd.sock")
print(daemon_pb2_grpc.DaemonServiceStub(channel).GetInfo(daemon_pb2.GetInfoRequest()).version)
print(len(models_pb2_grpc.ModelServiceStub(channel).ListModels(models_pb2.ListModelsRequest()).models))
snapshot = monitor_pb2_grpc.MonitorServiceStub(channel).GetSnapshot(monitor_pb2.GetSnapshotRequest()).snapshot
print(snapshot.resources.cpu_percent)
sys.stdout.flush()
import os
os._exit(0)
"""
"""The three calls of `oblix status`."""
ASK = """
import sys
import grpc
from oblix.v1 import executions_pb2, executions_pb2_grpc, messages_pb2
stub = executions_pb2_grpc.ExecutionServiceStub(grpc.insecure_channel(f"unix:{sys.argv[1]}/oblixd.sock"))
part = messages_pb2.Part(text="What is gravity?")
message = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[part])
for response in stub.Execute(executions_pb2.ExecuteRequest(input=[message])):
    if response.HasField("delta"):
        print(response.delta.text, end="", flush=True)
print(flush=True)
import os
os._exit(0)
"""
"""One prompt that is not recorded, and its answer as it arrives."""
CALL = """
import sys
import grpc
from oblix.v1 import {0}_pb2, {0}_pb2_grpc
stub = {0}_pb2_grpc.{1}Stub(grpc.insecure_channel(f"unix:{{sys.argv[1]}}/oblixd.sock"))
print(stub.{2}({0}_pb2.{2}Request({3})))
sys.stdout.flush()
import os
os._exit(0)
"""
"""One call, and its answer as protobuf prints it."""
VIEW = """
import sys
import grpc
from oblix.v1 import sessions_pb2, sessions_pb2_grpc
stub = sessions_pb2_grpc.SessionServiceStub(grpc.insecure_channel(f"unix:{sys.argv[1]}/oblixd.sock"))
print(stub.GetSession(sessions_pb2.GetSessionRequest(session_id=sys.argv[2])).session.title)
for message in stub.ListMessages(sessions_pb2.ListMessagesRequest(session_id=sys.argv[2])).messages:
    print(message.role, "".join(part.text for part in message.parts))
sys.stdout.flush()
import os
os._exit(0)
"""
"""The two calls of `oblix sessions view`."""
COMMANDS = {
    "list": "oblix sessions",
    "view": "oblix sessions view",
    "search": "oblix search",
    "ps": "oblix ps",
    "models": "oblix models",
    "usage": "oblix usage",
    "status": "oblix status",
    "ask": "oblix ask -n",
}
"""Each bare process, and the command that does the same."""
CONFIGURATION = """
[[models]]
provider = "custom"
name = "fixed"
endpoint = "{}"
location = "local"
"""


class Cost(NamedTuple):
    """What a process took, in milliseconds."""

    clock: float
    processor: float


def main() -> int:
    """All in turn, in one run; the daemon runs, as it does on a workstation."""
    answers = ["oblix.testing", "openai", "--model", "fixed", "--answer", "It pulls."]
    with tempfile.TemporaryDirectory(dir="/tmp") as home, serve_module(*answers) as url:
        (Path(home) / "config.toml").write_text(CONFIGURATION.format(url))
        with run_daemon(Path(home), OBLIX_EMBEDDED_ENABLED="false"):
            costs = measure(home)
    shown = [*against("python -c pass", "oblix --version", costs, 3.0)]
    for bare, ours in COMMANDS.items():
        shown += against(f"bare {bare}", ours, costs, 1.25)
    return report("Whole processes: ms", shown)


def measure(home: str) -> dict[str, Cost]:
    """Return the median of each command, one after the other in each round."""
    python, oblix = sys.executable, str(Path(sys.executable).with_name("oblix"))
    # What is run at all is run as it is installed: with its modules compiled.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ["OBLIX_HOME"] = home
    ask = [oblix, "ask", "--no-metrics", "What is gravity?"]
    subprocess.run(ask, env=environ, check=True, stdout=subprocess.DEVNULL)
    listed = subprocess.run([oblix, "sessions"], env=environ, check=True, stdout=subprocess.PIPE, text=True)
    session_id = listed.stdout.split("\t")[0]
    search = CALL.format("sessions", "SessionService", "SearchMessages", "query='gravity'")
    usage = CALL.format("daemon", "DaemonService", "GetUsage", "group=1")
    sides = {
        "python -c pass": [python, "-c", "pass"],
        "oblix --version": [oblix, "--version"],
        "bare list": [python, "-c", LIST, home],
        "oblix sessions": [oblix, "sessions"],
        "bare view": [python, "-c", VIEW, home, session_id],
        "oblix sessions view": [oblix, "sessions", "view", session_id],
        "bare search": [python, "-c", search, home],
        "oblix search": [oblix, "search", "gravity"],
        "bare ps": [python, "-c", CALL.format("executions", "ExecutionService", "ListExecutions", ""), home],
        "oblix ps": [oblix, "ps"],
        "bare models": [python, "-c", CALL.format("models", "ModelService", "ListModels", ""), home],
        "oblix models": [oblix, "models"],
        "bare usage": [python, "-c", usage, home],
        "oblix usage": [oblix, "usage"],
        "bare status": [python, "-c", STATUS, home],
        "oblix status": [oblix, "status"],
        "bare ask": [python, "-c", ASK, home],
        "oblix ask -n": [*ask[:2], "-n", *ask[2:]],
    }
    rounds = [{name: cost_of(words, environ) for name, words in sides.items()} for _ in range(ROUNDS + 2)]
    counted = rounds[2:]
    return {name: Cost(*(statistics.median(column) for column in columns(counted, name))) for name in sides}


def columns(rounds: list[dict[str, Cost]], name: str) -> list[tuple[float, ...]]:
    """Return the times on the clock, and the processor's times, of one side."""
    return list(zip(*(each[name] for each in rounds), strict=True))


def cost_of(words: list[str], environ: dict[str, str]) -> Cost:
    """Run a process to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(words, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert not process.returncode, words
    return Cost((time.perf_counter() - began) * 1e3, (used.ru_utime + used.ru_stime) * 1e3)


def against(bare: str, ours: str, costs: dict[str, Cost], limit: float) -> list[Line]:
    """Return the rows of a pair."""
    theirs, own = costs[bare], costs[ours]
    return [
        Line(f"{bare}, processor (clock {theirs.clock:.0f})", theirs.processor, "ms"),
        Line(f"{ours}, processor (clock {own.clock:.0f})", own.processor, "ms"),
        Line(f"{ours} / {bare}, clock", own.clock / theirs.clock, "x"),
        Line(f"{ours} / {bare}, processor", own.processor / theirs.processor, "x", limit),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
