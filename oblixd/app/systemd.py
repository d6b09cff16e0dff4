"""Tells the service manager where the daemon is in its life, as sd_notify(3) lays down."""

from __future__ import annotations

import functools
import logging
import os
import socket
import time

logger = logging.getLogger(__name__)


def ready(status: str) -> None:
    """It serves. `status` is one line for a person."""
    _send(f"READY=1\nSTATUS={' '.join(status.split())}")


def reloading() -> None:
    """It reads its configuration again; `ready` follows."""
    now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    _send(f"RELOADING=1\nMONOTONIC_USEC={now_us}")


def stopping() -> None:
    """It drains, or ends at once."""
    _send("STOPPING=1\nSTATUS=draining")


@functools.cache
def _address() -> str:
    """Where the manager listens; empty without one. Taken out of the environment: no child is meant."""
    given = os.environ.pop("NOTIFY_SOCKET", "")
    return f"\0{given[1:]}" if given.startswith("@") else given


def _send(text: str) -> None:
    if not _address():
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(text.encode(), _address())
    except OSError as error:
        logger.warning("the service manager can't be told %s: %s", text.partition("\n")[0], error)
