"""The route by which a packet would leave this machine. The kernel is asked; nothing is sent."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ANYWHERE = ("192.0.2.1", "2001:db8::1")
"""Addresses that only a default route leads to: kept for documentation, RFC 5737 and RFC 3849."""
SYS_NET = Path("/sys/class/net")

_DISCARD_PORT = 9
_SIOCGIFFLAGS = 0x8913
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_ARPHRD_PPP, _ARPHRD_RAWIP, _ARPHRD_LOOPBACK, _ARPHRD_NONE = 512, 519, 772, 65534


@dataclass(frozen=True, slots=True)
class Route:
    """A route out. Two that are equal are the same network as far as this machine can tell."""

    interface: str
    """Empty where it can't be told."""
    address: str
    """Our own, as the other side sees it."""
    kind: str = field(default="", compare=False)
    """See `kind_of`."""


def route_to(addresses: Iterable[str]) -> Route | None:
    """Find the route to the first of these IP addresses that has one over a live link, or None."""
    for address in addresses:
        own = _source(address)
        if own is not None and _has_link(interface := _interface(own)):
            return Route(interface, own, kind_of(interface))
    return None


def kind_of(interface: str, sys_net: Path = SYS_NET) -> str:
    """`wired`, `wireless`, `cellular`, `vpn` or `loopback`; empty where the system does not tell."""
    place = sys_net / interface
    if not interface or not (place / "type").exists():
        return ""
    number, uevent = int((place / "type").read_text()), (place / "uevent").read_text()
    if number == _ARPHRD_LOOPBACK:
        return "loopback"
    if (place / "wireless").exists() or (place / "phy80211").exists():
        return "wireless"
    if number == _ARPHRD_RAWIP or "DEVTYPE=wwan" in uevent:
        return "cellular"
    if number in {_ARPHRD_PPP, _ARPHRD_NONE} or (place / "tun_flags").exists():
        return "vpn"
    return "wired"


def _source(address: str) -> str | None:
    """Return our address towards that one. Connecting a datagram socket only looks up the route."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect((address, _DISCARD_PORT))
        return str(asking.getsockname()[0])
    return None


def _interface(own: str) -> str:
    for name, found in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == own for one in found):
            return str(name)
    return ""


def _has_link(interface: str) -> bool:
    """Return whether it has a carrier: a route stays when a cable is pulled. Unknown counts as yes."""
    if not interface or not sys.platform.startswith("linux"):
        return True
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        # netdevice(7): struct ifreq, a name and its flags. RUNNING is the operational state.
        request = struct.pack("16sH22x", interface.encode(), 0)
        flags: int = struct.unpack_from("H", fcntl.ioctl(asking, _SIOCGIFFLAGS, request), 16)[0]
        return flags & (_IFF_UP | _IFF_RUNNING) == _IFF_UP | _IFF_RUNNING
    return False
