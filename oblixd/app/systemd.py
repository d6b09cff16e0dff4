"""Tells the service manager where the daemon is in its life, as sd_notify(3) lays down."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import socket
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

REPORT_S = 10.0
"""How often the status is told, where the manager watches over nothing."""
MARGIN_S = 30.0
"""What the daemon may need to end beside the grace: models to unload, a store to close."""


def ready(status: str) -> None:
    """Tell systemd that the daemon serves. `status` is one line for a person."""
    _send(f"READY=1\nSTATUS={_one_line(status)}")


def reloading() -> None:
    """Tell systemd that the daemon reads its configuration again; `ready` follows."""
    now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    _send(f"RELOADING=1\nMONOTONIC_USEC={now_us}")


def stopping(grace_s: float) -> None:
    """Ask systemd to wait: the daemon drains for at most so long, whatever its unit says."""
    longest_us = round((grace_s + MARGIN_S) * 1e6)
    _send(f"STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={longest_us}")


async def keep_reporting(status: Callable[[], str]) -> None:
    """Tell the manager that the event loop turns, and what it does, for as long as the daemon lives.

    A manager that watches (WatchdogSec=) restarts a daemon that it does not hear from. This runs in the
    loop, so that a stalled loop is not heard from.
    """
    if not _address():
        return
    watchdog_s = _watchdog_s()
    told = ""
    while True:
        news = _one_line(status())
        lines = ["WATCHDOG=1"] if watchdog_s else []
        lines += [f"STATUS={news}"] if news != told else []
        if lines:
            _send("\n".join(lines))
        told = news
        await asyncio.sleep(min(watchdog_s / 3, REPORT_S) if watchdog_s else REPORT_S)


@functools.cache
def _address() -> str:
    """Return where the manager listens, or an empty text. Removed from the environment of children."""
    given = os.environ.pop("NOTIFY_SOCKET", "")
    return f"\0{given[1:]}" if given.startswith("@") else given


@functools.cache
def _watchdog_s() -> float:
    """Return how long the manager waits for a sign of life. 0: it does not. Taken out of the environment."""
    given, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
    return int(given) / 1e6 if given.isdigit() and pid in ("", str(os.getpid())) else 0.0


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _send(text: str) -> None:
    if not _address():
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(text.encode(), _address())
    except OSError as error:
        logger.warning("the service manager can't be told %s: %s", text.partition("\n")[0], error)
