"""What the system has used up is told by name, and is no defect of ours."""

from __future__ import annotations

import errno
import subprocess
import sys

import google.protobuf
import pytest

from oblixd.errors import InternalError, from_exception


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (MemoryError(), "OUT_OF_MEMORY"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "OUT_OF_MEMORY"),
        (RuntimeError("can't start new thread"), "OUT_OF_MEMORY"),
        (OSError(errno.EMFILE, "Too many open files"), "NO_DESCRIPTORS"),
        (OSError(errno.ENOSPC, "No space left on device"), "DISK_FULL"),
    ],
)
def test_an_exhausted_resource_is_named(problem: Exception, reason: str) -> None:
    assert from_exception(problem).reason == reason


def test_anything_else_is_a_defect() -> None:
    assert isinstance(from_exception(RuntimeError("odd")), InternalError)


_WITHOUT_MEMORY = """
import resource
from oblix.v1 import messages_pb2
from oblixd.errors import from_exception

message = messages_pb2.Message(parts=[messages_pb2.Part(text="x" * 500)] * 20_000)
data = message.SerializeToString()
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), resource.RLIM_INFINITY))
for work in (message.SerializeToString, lambda: messages_pb2.Message.FromString(data)):
    try:
        work()
    except Exception as error:
        print(from_exception(error).reason)
"""


@pytest.mark.skipif(google.protobuf.__version__ < "7", reason="protobuf 6.33 crashes without memory")
def test_protobuf_without_memory_is_no_defect_and_no_damage() -> None:
    """Protobuf raises an EncodeError and a DecodeError then, and no MemoryError."""
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_MEMORY], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["OUT_OF_MEMORY"] * 2
