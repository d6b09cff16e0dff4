"""Which sockets of this machine listen on given ports.

Asked of the kernel over netlink, sock_diag(7): /proc/net/tcp, which has them
too, goes through the table of all connections and takes milliseconds.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Iterator

_SOCK_DIAG, _BY_FAMILY = 4, 20
_REQUEST_DUMP = 0x301
_LISTEN = 1 << 10
"""The bit of TCP_LISTEN among the states."""
_HEADER = struct.Struct("=IHHII")
"""Length, type, flags, sequence number, sender (linux/netlink.h)."""
_REQUEST = struct.Struct("=BBBxI48x")
"""Family, protocol, extensions, states; the rest is for asking about one socket (linux/inet_diag.h)."""
_PATIENCE_S = 1.0
_BUFFER = 1 << 16


def inodes(ports: Collection[int]) -> set[int]:
    """The inodes of the TCP sockets that listen on one of the ports. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(_PATIENCE_S)
        found = set()
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _LISTEN)
            kernel.send(_HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, _REQUEST_DUMP, 0, 0) + request)
            found |= {inode for port, inode in _answers(kernel) if port in ports}
        return found


def _answers(kernel: socket.socket) -> Iterator[tuple[int, int]]:
    """Port and inode of each; the dump ends with a message that is none."""
    while True:
        data = memoryview(kernel.recv(_BUFFER))
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind != _BY_FAMILY:
                return
            yield _port_and_inode(data[_HEADER.size : length])
            data = data[(length + 3) & ~3 :]


def _port_and_inode(message: memoryview) -> tuple[int, int]:
    """Of struct inet_diag_msg: 4 bytes, then the port in network order; the inode is its last number."""
    (port,) = struct.unpack_from("!H", message, 4)
    (inode,) = struct.unpack_from("=I", message, 68)
    return port, inode
