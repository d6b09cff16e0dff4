"""A line between two network namespaces on which packets come late or get lost: netem, for a kernel without.

    python -m support.packets NEAR FAR

Makes a TUN interface for each namespace, moves them there, prints a line and
carries packets between them. A line `MILLISECONDS PERCENT` on standard input
says how late packets to NEAR come, and how many in a hundred are lost each way.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import struct
import subprocess
import sys

INTERFACE = "slow0"

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_LARGEST_PACKET = 65535


class Line:
    """Two ends, how late packets come and how many are lost."""

    def __init__(self, near: int, far: int) -> None:
        self.delay_s = 0.0
        self.lost_percent = 0.0
        self._random = random.Random(4)
        loop = asyncio.get_running_loop()
        loop.add_reader(near, lambda: self._carry(near, far, 0.0))
        loop.add_reader(far, lambda: self._carry(far, near, self.delay_s))

    def _carry(self, source: int, target: int, delay_s: float) -> None:
        packet = os.read(source, _LARGEST_PACKET)
        if self._random.uniform(0.0, 100.0) >= self.lost_percent:
            asyncio.get_running_loop().call_later(delay_s, _deliver, target, packet)


def _deliver(target: int, packet: bytes) -> None:
    # An end that is down takes nothing, as a cable would not.
    with contextlib.suppress(OSError):
        os.write(target, packet)


def end_in(namespace: str) -> int:
    """The file of a new TUN interface in a namespace. It goes when the file is closed."""
    opened = os.open("/dev/net/tun", os.O_RDWR)
    name = f"obx{os.getpid()}{namespace[-1]}"[:15]
    fcntl.ioctl(opened, _TUNSETIFF, struct.pack("16sH14x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "netns", namespace, "name", INTERFACE], check=True)
    return opened


async def main(near: str, far: str) -> None:
    """Carry packets until standard input ends."""
    line = Line(end_in(near), end_in(far))
    print("ready", flush=True)
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while said := await commands.readline():
        delay_ms, line.lost_percent = map(float, said.split())
        line.delay_s = delay_ms / 1e3
        print("ok", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
