"""What the system has used up is told by name, and is no defect of ours."""

from __future__ import annotations

import errno

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
def test_what_is_used_up_is_named(problem: Exception, reason: str) -> None:
    assert from_exception(problem).reason == reason


def test_anything_else_is_a_defect() -> None:
    assert isinstance(from_exception(RuntimeError("odd")), InternalError)
