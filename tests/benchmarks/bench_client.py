"""What a streamed short reply costs the program that asks: CPU, not time.

    python tests/benchmarks/bench_client.py [--base DIR] [--rounds N] [--replies N]

Bare gRPC stubs, both clients of this build and, with DIR (a checkout of an older build), its client, each in
a process of its own, all before the same daemon and the same fast model server. They take turns, and the
order changes with each round: a machine that slows down slows all of them. Counted is the process time of the
side that asks. At the end: what `import oblix` takes beside `import grpc`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from measure import Line, report, serve_module
from support.drivers.daemon import run_daemon

HERE = Path(__file__).resolve().parents[2]
CONFIG = """
[openai]
endpoint = "{url}/v1"
models = ["short", "single-40"]
[embedded]
enabled = false
"""
REPLIES = 100
"""Of a round, of each side."""
SHORT, LONGER = "openai:short", "openai:single-40"
TEXT = " 0 1"
SIDES = {
    "bare stub": "bare",
    "bare stub, grpc.aio": "bare_aio",
    "Client": "client",
    "AsyncClient": "async_client",
    "OblixClient": "facade",
}
OLDER = "OblixClient of the older build"
Ask = Callable[[str, int], None]
IMPORTS = 20


def main() -> int:
    """Measure, and print a row for each side."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--replies", type=int, default=REPLIES)
    parser.add_argument("--ask")
    arguments = parser.parse_args()
    if arguments.ask:
        return _work(arguments.ask, arguments.replies)
    costs = _measure(arguments.base, arguments.rounds, arguments.replies)
    rows = []
    for model in (SHORT, LONGER):
        bare = statistics.median(costs["bare stub", model])
        for side in [*SIDES, *([OLDER] if arguments.base else [])]:
            cost = statistics.median(costs[side, model])
            limit = 0.8 if model == SHORT and side in {"Client", "AsyncClient"} else None
            rows += [
                Line(f"{model}: {side}", cost, "ms", limit),
                Line("  beside the bare stub", cost / bare, "x"),
            ]
    grpc_ms, oblix_ms = _imports()
    rows.append(Line("import oblix / import grpc", oblix_ms / grpc_ms, "x", 0.35))
    return report(
        f"CPU of the program that asks, a reply ({arguments.rounds} rounds of {arguments.replies})", rows
    )


def _measure(base: Path | None, rounds: int, replies: int) -> dict[tuple[str, str], list[float]]:
    costs = defaultdict[tuple[str, str], list[float]](list)
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
        serve_module("benchmarks.fast_server") as url,
        ExitStack() as stack,
    ):
        home = Path(folder)
        (home / "openai-api-key").write_text("sk-x")
        (home / "config.toml").write_text(CONFIG.format(url=url))
        stack.enter_context(run_daemon(home, CREDENTIALS_DIRECTORY=folder))
        workers = {
            name: stack.enter_context(_worker(home, kind, HERE, replies)) for name, kind in SIDES.items()
        }
        if base:
            workers[OLDER] = stack.enter_context(_worker(home, "facade", base, replies))
        for number in range(-2, rounds):
            for name in list(workers) if number % 2 else list(workers)[::-1]:
                for model in (SHORT, LONGER):
                    cost = _round(workers[name], model)
                    if number >= 0:
                        costs[name, model].append(cost)
    return costs


@contextmanager
def _worker(home: Path, kind: str, build: Path, replies: int) -> Iterator[subprocess.Popen[str]]:
    paths = os.pathsep.join(map(str, (build, build / "client", HERE / "tests", HERE / "tests/benchmarks")))
    process = subprocess.Popen(
        [sys.executable, __file__, "--ask", kind, "--replies", f"{replies}"],
        env={**os.environ, "OBLIX_HOME": str(home), "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.communicate()


def _round(process: subprocess.Popen[str], model: str) -> float:
    """Have a worker ask. Return the milliseconds of CPU that a reply took it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{model}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def _work(kind: str, replies: int) -> int:
    """Ask whenever told to, and say what it took."""
    ask: Ask = globals()[f"_{kind}"]()
    for line in sys.stdin:
        began = time.process_time()
        ask(line.strip(), replies)
        print((time.process_time() - began) / replies * 1e3, flush=True)
    return 0


def _check(text: str) -> None:
    assert text.startswith(TEXT), text


def _socket() -> str:
    return f"unix:{os.environ['OBLIX_HOME']}/oblixd.sock"


def _bare_stub() -> Ask:
    import grpc
    from oblix.v1 import executions_pb2, executions_pb2_grpc, messages_pb2

    stub = executions_pb2_grpc.ExecutionServiceStub(grpc.insecure_channel(_socket()))
    said = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="hello")])

    def ask(model: str, replies: int) -> None:
        for _ in range(replies):
            events = stub.Execute(executions_pb2.ExecuteRequest(input=[said], model=model))
            _check("".join([event.delta.text for event in events]))

    return ask


def _bare_aio() -> Ask:
    import grpc
    from oblix.v1 import executions_pb2, executions_pb2_grpc, messages_pb2

    said = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="hello")])

    async def ask(model: str, replies: int) -> None:
        async with grpc.aio.insecure_channel(_socket()) as channel:
            stub = executions_pb2_grpc.ExecutionServiceStub(channel)
            for _ in range(replies):
                events = stub.Execute(executions_pb2.ExecuteRequest(input=[said], model=model))
                _check("".join([event.delta.text async for event in events]))

    return lambda model, replies: asyncio.run(ask(model, replies))


def _client() -> Ask:
    import oblix

    client = oblix.Client()

    def ask(model: str, replies: int) -> None:
        for _ in range(replies):
            _check("".join(client.stream_text("hello", model=model)))

    return ask


def _async_client() -> Ask:
    import oblix

    client = oblix.AsyncClient()

    async def ask(model: str, replies: int) -> None:
        for _ in range(replies):
            _check("".join([text async for text in client.stream_text("hello", model=model)]))

    return lambda model, replies: asyncio.run(ask(model, replies))


def _facade() -> Ask:
    from oblix import OblixClient

    client = OblixClient()

    async def ask(model: str, replies: int) -> None:
        for _ in range(replies):
            answer = await client.execute("hello", model_id=model, stream=False)
            _check(answer["response"])

    return lambda model, replies: asyncio.run(ask(model, replies))


def _imports() -> tuple[float, float]:
    """Return what importing grpc and oblix takes, in ms of CPU, without the interpreter's own start."""
    programs, costs = ("pass", "import grpc", "import oblix"), defaultdict[str, list[float]](list)
    for _ in range(IMPORTS):
        for program in programs:
            before = os.times()
            subprocess.run([sys.executable, "-c", program], check=True)
            after = os.times()
            spent = (
                after.children_user + after.children_system - before.children_user - before.children_system
            )
            costs[program].append(spent * 1e3)
    start, grpc_ms, oblix_ms = (statistics.median(costs[program]) for program in programs)
    return grpc_ms - start, max(oblix_ms - start, 0.0)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
