"""The terminal: taken over while it is shown, given back as it was, however that ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live

from oblix._convert.terminal_text import raw_stream
from oblix.cli.commands.service.top.feed import follow
from oblix.cli.commands.service.top.state import State
from oblix.cli.commands.service.top.view import fitted_view

_LOCAL_CHARACTERS = 6
"""Where termios keeps the control characters."""


async def show() -> None:
    """Draw what the daemon tells until q, Ctrl-C or SIGTERM."""
    ended, changed = asyncio.Event(), asyncio.Event()
    state, console = State(), Console(file=raw_stream(sys.stdout), highlight=False)
    with _keys(), _listening(ended, changed), Live(console=console, screen=True, auto_refresh=False) as live:
        feed = asyncio.create_task(follow(state, changed.set))
        drawing = asyncio.create_task(_draw(live, console, state, changed))
        await asyncio.wait(
            [feed, drawing, asyncio.create_task(ended.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        for task in (feed, drawing):
            task.cancel()
        results = await asyncio.gather(feed, drawing, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _draw(live: Live, console: Console, state: State, change: asyncio.Event) -> None:
    while True:
        live.update(fitted_view(state, console.width, console.height), refresh=True)
        await change.wait()
        change.clear()


@contextlib.contextmanager
def _listening(end: asyncio.Event, change: asyncio.Event) -> Iterator[None]:
    """Hear of signals, keys, and the terminal's new size."""
    loop, keyboard = asyncio.get_running_loop(), sys.stdin.fileno()
    signals = {
        signal.SIGINT: end.set,
        signal.SIGTERM: end.set,
        signal.SIGHUP: end.set,
        signal.SIGWINCH: change.set,
    }

    def pressed() -> None:
        keys = os.read(keyboard, 64)
        # An arrow key begins with Escape, too, and a terminal that has gone gives nothing.
        if not keys or keys[:1] in (b"q", b"Q") or keys == b"\x1b":
            end.set()

    for number, heard in signals.items():
        loop.add_signal_handler(number, heard)
    loop.add_reader(keyboard, pressed)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)
        for number in signals:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Get each key at once, unseen. Ctrl-Z would leave a terminal that is not as it was: it does nothing."""
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        now = termios.tcgetattr(keyboard)
        now[_LOCAL_CHARACTERS][termios.VSUSP] = b"\x00"
        termios.tcsetattr(keyboard, termios.TCSADRAIN, now)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
