"""Hears of links, addresses and routes that come and go, at once.

Linux tells by netlink (rtnetlink(7)). All that is wanted of a message is that
there is one: the routes are asked for afterwards, so nothing is parsed here,
and no library that could is worth its weight. Where there is no netlink nothing
is heard, and the probes find out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable

SETTLE_S = 0.05
"""Changes come in flurries: link, addresses, routes. They are told as one."""

_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV4_ROUTE = 0x1, 0x10, 0x40
_RTMGRP_IPV6_IFADDR, _RTMGRP_IPV6_ROUTE = 0x100, 0x400
_GROUPS = _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV4_ROUTE | _RTMGRP_IPV6_IFADDR | _RTMGRP_IPV6_ROUTE
_LARGEST_READ = 65536

logger = logging.getLogger(__name__)


class LinkEvents:
    """Calls back after every change of a link, an address or a route. Belongs to one event loop."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._socket: socket.socket | None = None
        self._settling: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to listen, where the system tells."""
        try:
            self._socket = _subscribe()
        except (AttributeError, OSError) as error:
            logger.info("changes of the network are not told here (%s): probes find them", error)
            return
        asyncio.get_running_loop().add_reader(self._socket, self._heard)

    def close(self) -> None:
        """Stop listening."""
        if self._settling is not None:
            self._settling.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _heard(self) -> None:
        if self._socket is not None:
            _drain(self._socket)
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(SETTLE_S, self._tell)

    def _tell(self) -> None:
        self._settling = None
        self._on_change()


def _subscribe() -> socket.socket:
    listening = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        listening.setblocking(False)
        listening.bind((0, _GROUPS))
    except OSError:
        listening.close()
        raise
    return listening


def _drain(listening: socket.socket) -> None:
    # Where more came than the socket could hold the kernel says ENOBUFS: that, too, is word of a change.
    with contextlib.suppress(OSError):
        while listening.recv(_LARGEST_READ):
            pass
