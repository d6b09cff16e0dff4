"""Gives a command a network of its own, where every port is free and nobody else is reached.

    python -m support.netns COMMAND ...

Needs a Linux that lets this user make network namespaces.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys

SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 0x1


def command(*words: str) -> list[str] | None:
    """The command that runs another one in a network of its own; None where this machine refuses."""
    for unshare in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode == 0:
            return [*unshare, sys.executable, "-m", "support.faults.netns", "--inside", *words]
    return None


def _raise_loopback() -> None:
    """A new namespace has its loopback down. `ip` does the same, but is not everywhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def main() -> None:
    """Become the command, inside."""
    words = sys.argv[1:]
    if words[:1] == ["--inside"]:
        _raise_loopback()
        os.execvp(words[1], words[1:])
    outside = command(*words)
    if outside is None:
        sys.exit("this user may not make a network namespace here")
    os.execvp(outside[0], outside)


if __name__ == "__main__":
    main()
