"""The errors: one class for each gRPC status, and what they carry."""

from __future__ import annotations

import pickle

import grpc
import oblix
import pytest
from oblix import errors
from oblix._transport import errors as transport_errors
from oblix.errors import OblixError

TREE = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, OblixError)]
OURS = {oblix.AgentRefusedError, oblix.DaemonStartError, oblix.InvalidAnswerError, OblixError}
"""Raised by the client itself: special cases of a status, and the root."""
UNUSED = {grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN, grpc.StatusCode.OUT_OF_RANGE}
"""Sent by no daemon of ours. A foreign one's are the root."""


def test_every_status_has_a_class_of_its_own_and_every_class_a_status() -> None:
    assert set(transport_errors.CLASSES) == set(grpc.StatusCode) - UNUSED
    assert sorted(c.__name__ for c in transport_errors.CLASSES.values()) == sorted(
        c.__name__ for c in set(TREE) - OURS
    )


def test_every_error_is_exported_and_drawn_in_the_tree() -> None:
    assert {error.__name__ for error in TREE} <= set(oblix.__all__)
    assert errors.__doc__ is not None
    assert all(f" {error.__name__} " in errors.__doc__ for error in TREE)


@pytest.mark.parametrize("kind", TREE)
def test_errors_cross_process_borders(kind: type[OblixError]) -> None:
    error = kind("Do something else.", reason="A_REASON", metadata={"field": "title"})
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.message, copy.reason, copy.metadata, str(copy)) == (
        kind,
        "Do something else.",
        "A_REASON",
        {"field": "title"},
        "Do something else.",
    )


class FailedCall(grpc.RpcError, grpc.Call):
    """A call that failed with a status that no daemon of ours sends."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def initial_metadata(self) -> None: ...
    def trailing_metadata(self) -> None: ...
    def is_active(self) -> bool: ...
    def time_remaining(self) -> None: ...
    def cancel(self) -> bool: ...
    def add_callback(self, callback: object) -> bool: ...


@pytest.mark.parametrize(
    ("code", "details", "kind", "reason"),
    [
        (grpc.StatusCode.UNKNOWN, "what?", OblixError, ""),
        (grpc.StatusCode.ABORTED, "", oblix.AbortedError, ""),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", oblix.UnimplementedError, ""),
        (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "Deadline Exceeded",
            oblix.DeadlineExceededError,
            transport_errors.SILENT,
        ),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "SERVER: Received message larger than max (20 vs. 9)",
            oblix.ResourceExhaustedError,
            "MESSAGE_TOO_LARGE",
        ),
        (
            grpc.StatusCode.UNAVAILABLE,
            "failed to connect to all addresses; no",
            oblix.UnavailableError,
            transport_errors.UNREACHABLE,
        ),
        (
            grpc.StatusCode.UNAVAILABLE,
            "DNS resolution failed for example.invalid:4321",
            oblix.UnavailableError,
            transport_errors.UNREACHABLE,
        ),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", oblix.UnavailableError, transport_errors.LOST),
    ],
)
def test_errors_of_grpc_itself_have_a_class_and_a_message(
    code: grpc.StatusCode, details: str, kind: type[OblixError], reason: str
) -> None:
    error = transport_errors.to_error(FailedCall(code, details))
    assert (type(error), error.reason) == (kind, reason)
    assert details in error.message
    assert error.message
