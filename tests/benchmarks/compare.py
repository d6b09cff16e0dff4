"""One table: what Oblix takes beside its bare parts, plain httpx, a peer and an older build.

    compare.py [--quick] [--base DIR] [--litellm COMMAND] [--json FILE] [--page FILE] [--pictures DIR]

All sides answer the same prompts of one fake server, in turn and in the same rounds, so that a machine that
slows down slows all of them: read the ratios. Every answer is compared with what was sent: nothing may be
lost, repeated or in another order. At the end the daemon is killed, and what it acknowledged must be on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import stores
from charts import Chart, picture
from contenders import Bare, Contender, Httpx, LiteLlm, Oblix, Raw, Unrecorded, memory_of_open_kb
from fast_server import token
from measure import serve_module, timed_ms
from oblix.v1 import messages_pb2, sessions_pb2
from report import About, Table, write_json, write_page

HERE = Path(__file__).resolve().parents[2]
TOKENS, LANES = 2000, 16
MODELS = ("short", f"tokens-{TOKENS}", f"single-{TOKENS}", "open")
PEERS = {"LiteLLM proxy"}
"""Sides that take so long that they take part in one round only."""
FIRSTS_S, FEWEST = 60, 40
"""After so many seconds no more first tokens are measured than so many of each side: the machine is busy."""
Series = dict[tuple[str, str], list[float]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int
    firsts: int
    """First tokens of each side."""
    replies: int
    """Short replies of a round, of all lanes."""
    stores: Sequence[int]
    """Sessions of a store at which its operations are measured."""
    lanes: Sequence[int]
    """Concurrencies of the picture."""
    rates_s: float
    """After so many seconds no further round of replies and tokens begins: the machine is busy."""
    open: int
    """Executions that are open at the same time: fewer than the connections to one server."""
    lengths: Sequence[int] = (20, 200, 2000)
    """Messages of a session whose first token is measured."""


FULL = Plan(
    rounds=5,
    firsts=200,
    replies=320,
    stores=(100, 1_000, 10_000),
    lanes=(1, 4, 16, 64),
    rates_s=240,
    open=60,
)
QUICK = Plan(rounds=2, firsts=40, replies=64, stores=(100,), lanes=(), rates_s=30, open=60, lengths=(20, 200))


@asynccontextmanager
async def open_contenders(
    url: str, base: Path | None, litellm: Path | None
) -> AsyncIterator[dict[str, Contender]]:
    """Every side, ready to be asked."""
    now = Oblix("oblix", HERE, url, MODELS)
    sides: list[Contender] = [Raw("raw reader", url), Httpx(url), Bare(url), now, Unrecorded(now)]
    if base is not None:
        before = Oblix("base", base, url, MODELS)
        sides += [before, Unrecorded(before)]
    async with AsyncExitStack() as stack:
        for side in sides:
            await side.open()
            stack.push_async_callback(side.close)
        if litellm is not None:
            peer = LiteLlm(litellm, url, MODELS)
            stack.push_async_callback(peer.close)
            try:
                await peer.open()
            except AssertionError as error:
                _note(f"{peer.name} does not serve, and is left out: {error}")
            else:
                sides.append(peer)
        yield {side.name: side for side in sides}


def expected_text(model: str) -> str:
    """Return the answer of a model, token by token."""
    return "".join(token(number) for number in range(2 if model == "short" else TOKENS))


async def first_tokens(sides: dict[str, Contender], put: stores.BarePut, count: int) -> Series:
    """The first token of each side, one prompt at a time, all sides in turn, and a synced commit."""
    series: Series = defaultdict(list)
    warm_up, until_s = count // 10, time.monotonic() + FIRSTS_S
    for number in range(count + warm_up):
        if number >= warm_up + FEWEST and time.monotonic() > until_s:
            break
        for name, side in sides.items():
            began_s = side.cpu_s()
            result = await side.ask("short")
            assert result.text == expected_text("short"), f"{name}: {result.text!r}"
            if number >= warm_up:
                series[name, "first"].append(result.first_ms)
                series[name, "cpu alone"].append((side.cpu_s() - began_s) * 1e3)
        series["commit", "first"].append(timed_ms(put))
    return series


async def rates(sides: dict[str, Contender], plan: Plan) -> Series:
    """Replies and tokens a second, and CPU a reply, in rounds: the first one only warms up."""
    series: Series = defaultdict(list)
    until_s = time.monotonic() + plan.rates_s
    work = [("short", LANES, plan.replies), (MODELS[1], 1, 1), (MODELS[1], LANES, LANES)]
    work.append((MODELS[2], LANES, LANES))
    for number in range(plan.rounds + 1):
        if number > 1 and time.monotonic() > until_s:
            break
        for model, lanes, asks in work:
            for name, side in sides.items():
                if name in PEERS and number != 1:
                    continue
                seconds, cpu_s = await time_prompts(side, model, lanes, asks)
                if number:
                    size = 1 if model == "short" else TOKENS
                    series[name, f"{model} {lanes}"].append(asks * size / seconds)
                    series[name, f"cpu {model} {lanes}"].append(cpu_s / asks * 1e3)
    return series


async def time_prompts(side: Contender, model: str, lanes: int, asks: int) -> tuple[float, float]:
    """Ask so often over so many lanes. Gives the seconds that it took, and the process's CPU seconds."""

    async def ask(lane: int) -> None:
        for _ in range(asks // lanes):
            result = await side.ask(model, lane)
            assert result.text == expected_text(model), f"{side.name}: an answer is not what was sent"

    began, cpu_s = time.perf_counter(), side.cpu_s()
    await asyncio.gather(*map(ask, range(lanes)))
    return time.perf_counter() - began, side.cpu_s() - cpu_s


async def long_sessions(sides: dict[str, Contender], lengths: Sequence[int]) -> Series:
    """The first token of sessions of several lengths, all messages sent, against httpx sending the same."""
    series: Series = defaultdict(list)
    direct = sides["httpx"]
    assert isinstance(direct, Httpx)
    for size in lengths:
        history = [
            {"role": "assistant" if number % 2 else "user", "content": f"message {number} " + "word " * 20}
            for number in range(size)
        ]
        builds = [side for side in sides.values() if isinstance(side, Oblix)]
        ids = [await make_session(side, history) for side in builds]
        for number in range(12):
            result = await direct.send("short", [*history, {"role": "user", "content": "hello"}])
            series["httpx", f"{size}"].append(result.first_ms)
            for side, session_id in zip(builds, ids, strict=True):
                answer = await side.send("short", session_id)
                assert answer.text == expected_text("short")
                if number:
                    series[side.name, f"{size}"].append(answer.first_ms)
    return series


async def make_session(side: Oblix, history: Sequence[dict[str, str]]) -> str:
    """Make a session of these messages."""
    session_id = await side.session()
    roles = {"user": messages_pb2.ROLE_USER, "assistant": messages_pb2.ROLE_ASSISTANT}
    for start in range(0, len(history), 500):
        messages = [
            messages_pb2.Message(role=roles[one["role"]], parts=[messages_pb2.Part(text=one["content"])])
            for one in history[start : start + 500]
        ]
        await side.sessions.AppendMessages(
            sessions_pb2.AppendMessagesRequest(session_id=session_id, messages=messages)
        )
    return session_id


async def by_concurrency(sides: dict[str, Contender], lanes: Sequence[int]) -> Series:
    """Replies a second and the median time of a reply, at several concurrencies."""
    series: Series = defaultdict(list)
    for count in lanes:
        for _ in range(3):
            for name in ("httpx", "bare parts", "oblix", "base"):
                if name in sides:
                    asks = max(count, 64 // count * count)
                    seconds, _ = await time_prompts(sides[name], "short", count, asks)
                    series[name, f"{count}"].append(asks / seconds)
    return series


async def acknowledged_is_on_disk(side: Oblix) -> int:
    """Kill the daemon, start it again on the same store, and look for every turn that was acknowledged."""
    before = [[one.SerializeToString() for one in messages] for messages in await side.recorded_sessions()]
    assert side.process is not None
    side.process.send_signal(signal.SIGKILL)
    side.process.wait()
    side.socket.unlink(missing_ok=True)
    await side.channel.close()
    await side.open()
    after = [[one.SerializeToString() for one in messages] for messages in await side.recorded_sessions()]
    assert after == before, "what was acknowledged is not on disk"
    return sum(map(len, after))


def median(series: Series, name: str, what: str) -> float:
    """Return the median of what was measured of a side."""
    return statistics.median(series[name, what])


def p99(values: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(values, n=100)[98]


def table_of(sides: dict[str, Contender], first: Series, rate: Series, long: Series) -> Table:
    """Make the lines out of what was measured."""
    table = Table()
    _first_token_rows(table, sides, first)
    _token_rows(table, rate)
    _reply_rows(table, sides, rate, first)
    for size in dict.fromkeys(what for _, what in long):
        for name in ("oblix", "base"):
            if name in sides:
                added = median(long, name, f"{size}") - median(long, "httpx", f"{size}")
                goal = 3.0 if name == "oblix" else None
                table.add(
                    f"first token, {size} messages sent: {name}, over httpx", added, "ms more", most=goal
                )
    return table


def _first_token_rows(table: Table, sides: dict[str, Contender], first: Series) -> None:
    direct = first["httpx", "first"]
    table.add("first token: httpx straight to the server", statistics.median(direct), "ms")
    goals = {"oblix": (1.5, 4.0), "oblix, no session": (1.0, None)}
    for name in sides:
        if name in ("httpx", "raw reader"):
            continue
        added = [ours - theirs for ours, theirs in zip(first[name, "first"], direct, strict=True)]
        most, most99 = goals.get(name, (None, None))
        middle = statistics.median(added)
        table.add(f"first token: {name}, median", middle, "ms more", most=most)
        table.add(f"first token: {name}, 99th percentile", p99(added), "ms more", most=most99)
        if name == "bare parts":
            commit = statistics.median(first["commit", "first"])
            table.add("first token: bare parts and one synced commit", middle + commit, "ms more")


def _token_rows(table: Table, rate: Series) -> None:
    for what, shown, goal in (
        (f"{MODELS[1]} 1", "tokens a second, 1 stream", 2.0),
        (f"{MODELS[1]} {LANES}", f"tokens a second, {LANES} streams", 3.0),
        (f"{MODELS[2]} {LANES}", f"tokens a second, {LANES} streams, a token a write", 1.6),
    ):
        direct = median(rate, "httpx", what)
        table.add(f"{shown}: httpx", direct, "tokens/s")
        for name in ("raw reader", "bare parts", "oblix", "base", "LiteLLM proxy"):
            if (name, what) in rate:
                least = goal if name == "oblix" else None
                table.add(f"{shown}: {name} / httpx", median(rate, name, what) / direct, "x", least=least)


def _reply_rows(table: Table, sides: dict[str, Contender], rate: Series, first: Series) -> None:
    what = f"short {LANES}"
    direct = median(rate, "httpx", what)
    table.add(f"short replies a second, {LANES} at once: httpx", direct, "replies/s")
    for name in sides:
        if name != "httpx":
            least = 0.6 if name == "oblix" else None
            table.add(f"short replies: {name} / httpx", median(rate, name, what) / direct, "x", least=least)
    if "base" in sides:
        gain = median(rate, "oblix", what) / median(rate, "base", what)
        table.add("short replies, recorded: oblix / base", gain, "x", least=4.0)
    floor = median(rate, "bare parts", f"cpu {what}")
    table.add("CPU a reply: bare parts", floor, "ms")
    goals = {"oblix": 1.2, "oblix, no session": 1.0}
    for name in ("oblix", "oblix, no session", "base", "base, no session", "LiteLLM proxy"):
        if name in sides:
            cpu = median(rate, name, f"cpu {what}")
            table.add(f"CPU a reply, {LANES} at once: {name}", cpu, "ms", most=goals.get(name))
            table.add(f"CPU a reply, {LANES} at once: {name} / bare parts", cpu / floor, "x")
            table.add(f"CPU a reply, alone: {name}", median(first, name, "cpu alone"), "ms")


def start_ups(rounds: int) -> tuple[float, float]:
    """The wall time of `oblix --version` and of an empty Python program, in ms, in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    environ = {**os.environ, "PYTHONPATH": f"{HERE}:{HERE / 'client'}"}
    for _ in range(rounds):
        for command, own in zip((("-m", "oblix", "--version"), ("-c", "pass")), times, strict=True):
            began = time.perf_counter()
            subprocess.run([sys.executable, *command], env=environ, check=True, stdout=subprocess.DEVNULL)
            own.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times[0]), statistics.median(times[1])


async def at_rest(url: str, seconds: float) -> tuple[float, float, float]:
    """A daemon that nobody asks: seconds until it serves, MB of its own, and its share of a core in %."""
    side = Oblix("at rest", HERE, url, MODELS)
    await side.open()
    try:
        await side.channel.close()
        await asyncio.sleep(2)
        began = side.cpu_s()
        await asyncio.sleep(seconds)
        return side.serving_s, side.memory_mb(), (side.cpu_s() - began) / seconds * 100
    finally:
        await side.close()


async def measure(options: argparse.Namespace, url: str) -> Table:
    """Measure all of it."""
    plan: Plan = QUICK if options.quick else FULL
    async with AsyncExitStack() as stack:
        sides = await stack.enter_async_context(open_contenders(url, options.base, options.litellm))
        put = stack.enter_context(stores.bare_puts(Path(tempfile.gettempdir())))
        _note("first tokens")
        first = await first_tokens(sides, put, plan.firsts)
        _note("replies and tokens a second")
        rate = await rates(sides, plan)
        _note("long sessions")
        long = await long_sessions(sides, plan.lengths)
        table = table_of(sides, first, rate, long)
        now, bare = sides["oblix"], sides["bare parts"]
        assert isinstance(now, Oblix)
        assert isinstance(bare, Bare)
        _note("concurrency")
        spread = await by_concurrency(sides, plan.lanes)
        _note("open executions")
        await _open_rows(table, now, bare, plan.open)
        _note("the store")
        store = await stores.store_operations(now, bare, put, plan.stores)
        stores.add_rows(table, store, plan.stores)
        kept = await acknowledged_is_on_disk(now)
        table.add("messages acknowledged, found on disk after kill -9", kept, "all")
    _note("at rest")
    serving_s, memory_mb, share = await at_rest(url, 3 if options.quick else 20)
    table.add("spawn to SERVING", serving_s, "s")
    table.add("at rest: memory of its own", memory_mb, "MB", most=30)
    table.add("at rest: share of a core", share, "%", most=0.1)
    version, nothing = start_ups(3 if options.quick else 10)
    table.add("oblix --version / python -c pass", version / nothing, "x", most=3)
    if options.pictures and not options.quick:
        draw(options.pictures, spread, store)
    return table


async def _open_rows(table: Table, now: Oblix, bare: Bare, count: int) -> None:
    ours, floor = await memory_of_open_kb(now, count), await memory_of_open_kb(bare, count)
    table.add(f"memory of an open execution, {count:,} of them", ours, "kB")
    table.add("memory of an open execution / of a bare open stream", ours / floor, "x", most=1.5)


def _note(what: str) -> None:
    """Say what is being measured, for who waits."""
    print(f"{what} ...", file=sys.stderr, flush=True)


def draw(directory: Path, spread: Series, store: Series) -> None:
    """Write the two pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    rates = lines_of(spread)
    # Each lane asks again at once: how long a reply takes follows from how many come in a second.
    times = {name: [(lanes, lanes / rate * 1e3) for lanes, rate in line] for name, line in rates.items()}
    pictures = {
        "concurrency": picture(
            Chart("Short replies a second", "prompts at once", "replies/s", rates),
            Chart("Time of a short reply", "prompts at once", "ms", times),
        ),
        "store": picture(
            Chart(
                "Store operations over gRPC",
                "sessions in the store",
                "ms",
                {name: line for name, line in lines_of(store).items() if not name.startswith("bare")},
            )
        ),
    }
    for name, drawn in pictures.items():
        (directory / f"bench-{name}.svg").write_text(drawn)


def pictures_in(directory: Path | None) -> dict[Path, str]:
    """Return the pictures that are there, and what each shows, for who does not see it."""
    if directory is None:
        return {}
    return {
        directory
        / "bench-concurrency.svg": "Short replies a second, and the time of one, by prompts at once",
        directory / "bench-store.svg": "The time of store operations, by sessions in the store",
    }


def lines_of(series: Series) -> dict[str, list[tuple[float, float]]]:
    """Return the points of each line."""
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (name, place), values in series.items():
        lines[name].append((float(place), statistics.median(values)))
    return lines


def _absolute(text: str) -> Path:
    """Return a path that holds wherever a process runs."""
    return Path(text).absolute()


def main() -> int:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten")
    parser.add_argument("--base", type=_absolute, help="the checkout of an older build, measured beside")
    parser.add_argument("--litellm", type=_absolute, help="the command `litellm`, of its own environment")
    parser.add_argument("--json", type=_absolute, help="where the table goes as JSON")
    parser.add_argument("--page", type=_absolute, help="the page whose table and pictures are replaced")
    parser.add_argument("--pictures", type=_absolute, help="the directory of the two pictures")
    options = parser.parse_args()
    began = time.monotonic()
    with serve_module("benchmarks.fast_server") as url:
        table = asyncio.run(measure(options, url))
    about = About.now(Path(tempfile.gettempdir()), began)
    print(table.show())
    print(about.sentence())
    if options.json is not None:
        write_json(options.json, table, about)
    if options.page is not None:
        write_page(options.page, table, about, pictures_in(options.pictures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
