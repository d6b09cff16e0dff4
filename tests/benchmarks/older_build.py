"""This build beside an older one, as ratios: what a prompt, a write, a list, an import and a start take.

    older_build.py DIR [--rounds N]

DIR is the checkout of the older build. Both builds serve at the same time and answer the same prompts of one
fake server. They take turns, and the first one changes with each round: a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

from compare import HERE, LANES, MODELS, expected_text, time_prompts
from contenders import Contender, Oblix, Unrecorded
from measure import serve_module
from stores import store_calls

NOW, BASE = "this build", "the older one"
FIRSTS, REPLIES, CALLS, STARTS = 20, 320, 20, 3
"""Of a round, of each side."""
Sides = dict[str, Oblix]
Series = dict[str, dict[str, list[float]]]
"""What was measured, by row and side."""


def in_turn(names: list[str], number: int) -> list[str]:
    """Return the sides in the order of a round."""
    return names if number % 2 else names[::-1]


async def timed_ms(work: Awaitable[object]) -> float:
    """Await something, and return the milliseconds that it took."""
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) * 1e3


async def prompts(sides: Sides, rounds: int, series: Series) -> None:
    """Measure first tokens and replies, recorded and without a session."""
    kinds: dict[str, Callable[[Oblix], Contender]] = {
        "recorded": lambda side: side,
        "no session": Unrecorded,
    }
    asking = {(kind, name): make(side) for kind, make in kinds.items() for name, side in sides.items()}
    for number in range(rounds + 1):
        for kind in kinds:
            for _ in range(FIRSTS):
                for name in in_turn([*sides], number):
                    began_s = sides[name].cpu_s()
                    result = await asking[kind, name].ask("short")
                    assert result.text == expected_text("short")
                    series[f"first token, {kind}"][name].append(result.first_ms)
                    series[f"CPU of a reply, alone, {kind}"][name].append(
                        (sides[name].cpu_s() - began_s) * 1e3
                    )
            for name in in_turn([*sides], number):
                seconds, cpu_s = await time_prompts(asking[kind, name], "short", LANES, REPLIES)
                series[f"a reply, {LANES} at once, {kind}"][name].append(seconds / REPLIES * 1e3)
                series[f"CPU of a reply, {LANES} at once, {kind}"][name].append(cpu_s / REPLIES * 1e3)
        if number == 0:  # a warm-up
            series.clear()


async def store(sides: Sides, rounds: int, series: Series) -> None:
    """Measure appends and lists, with a hundred sessions in each store."""
    calls = {}
    for name, side in sides.items():
        session_id = await side.session()
        await asyncio.gather(*(side.session() for _ in range(100)))
        calls[name] = store_calls(side, session_id)
    for number in range(rounds * CALLS):
        for name in in_turn([*sides], number):
            for what, call in calls[name].items():
                began_s = sides[name].cpu_s()
                series[what][name].append(await timed_ms(call()))
                series[f"CPU of: {what}"][name].append((sides[name].cpu_s() - began_s) * 1e3)


async def starts(builds: dict[str, Path], url: str, rounds: int, series: Series) -> None:
    """Measure an import of the client, and a daemon's start until it serves, by whole processes."""
    for number in range(rounds * STARTS):
        for name in in_turn([*builds], number):
            build = builds[name]
            environ = {**os.environ, "PYTHONPATH": f"{build}:{build / 'client'}"}
            command = [sys.executable, "-c", "from oblix import OblixClient"]
            began = time.perf_counter()
            subprocess.run(command, env=environ, check=True)  # noqa: ASYNC221 - nothing else runs
            series["a process that imports OblixClient"][name].append((time.perf_counter() - began) * 1e3)
            side = Oblix(name, build, url, MODELS)
            await side.open()
            series["spawn to SERVING"][name].append(side.serving_s * 1e3)
            await side.close()


async def measure(builds: dict[str, Path], url: str, rounds: int) -> Series:
    """Measure all of it."""
    series: Series = defaultdict(lambda: defaultdict(list))
    sides = {name: Oblix(name, build, url, MODELS) for name, build in builds.items()}
    try:
        for side in sides.values():
            await side.open()
        await prompts(sides, rounds, series)
        await store(sides, rounds, series)
    finally:
        for side in sides.values():
            await side.close()
    await starts(builds, url, rounds, series)
    return series


def main() -> None:
    """Measure, and print medians and ratios: below 1, this build is faster."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("base", type=lambda text: Path(text).absolute(), help="the older build's checkout")
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    with serve_module("benchmarks.fast_server") as url:
        series = asyncio.run(measure({NOW: HERE, BASE: options.base}, url, options.rounds))
    print(f"{'median, ms':<46} {NOW:>14} {BASE:>14} {'ratio':>7}")
    for what, sides in series.items():
        now, base = (statistics.median(sides[name]) for name in (NOW, BASE))
        print(f"{what:<46} {now:>14.2f} {base:>14.2f} {now / base:>7.2f}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
