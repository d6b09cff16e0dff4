"""What every call passes through: unreadable bytes, web pages, errors with a reason."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from oblix.v1 import models_pb2, models_pb2_grpc, sessions_pb2, sessions_pb2_grpc
from support.drivers.daemon import RunningDaemon, run_daemon

GET = "/oblix.v1.SessionService/GetSession"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with run_daemon(tmp_path_factory.mktemp("edge")) as daemon:
        yield daemon


def info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    result = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(result)
    return result


def raw(daemon: RunningDaemon, method: str, data: bytes, **options) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as failed:
        daemon.channel.unary_unary(method)(data, timeout=60, **options)
    return failed.value


def test_only_the_user_gets_at_the_socket(daemon: RunningDaemon) -> None:
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(daemon.socket.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "data", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"], ids=["tag", "cut", "not utf-8"]
)
def test_bytes_that_are_no_request_are_named(daemon: RunningDaemon, data: bytes) -> None:
    error = raw(daemon, GET, data)
    assert (error.code(), info(error).reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")


def test_unreadable_bytes_in_the_middle_of_an_import_are_named(daemon: RunningDaemon) -> None:
    call = daemon.channel.stream_stream("/oblix.v1.SessionService/ImportSessions")(
        iter([b"\xff"]), timeout=60
    )
    with pytest.raises(grpc.RpcError) as failed:
        next(call)
    assert info(failed.value).reason == "MALFORMED_REQUEST"


def test_a_web_page_is_refused(daemon: RunningDaemon) -> None:
    error = raw(daemon, GET, b"", metadata=(("origin", "https://example.org"),))
    assert (error.code(), info(error).reason) == (grpc.StatusCode.PERMISSION_DENIED, "ORIGIN_REFUSED")


def test_an_error_tells_a_program_the_reason_and_a_person_what_to_do(daemon: RunningDaemon) -> None:
    stub = sessions_pb2_grpc.SessionServiceStub(daemon.channel)
    with pytest.raises(grpc.RpcError) as failed:
        stub.GetSession(sessions_pb2.GetSessionRequest(session_id="nobody"), timeout=60)
    error = failed.value
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert (info(error).reason, info(error).domain) == ("SESSION_NOT_FOUND", "oblix")
    assert info(error).metadata["session_id"] == "nobody"


def test_details_stay_small_whatever_was_sent(daemon: RunningDaemon) -> None:
    request = sessions_pb2.GetSessionRequest(session_id="\U0001f600" * 100_000)
    error = raw(daemon, GET, request.SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    trailers = sum(len(key) + len(value) for key, value in error.trailing_metadata())
    assert trailers + len(error.details().encode()) < 4096 * 2


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_hook_with_a_number_that_json_lacks_is_a_wrong_hook(daemon: RunningDaemon, number: float) -> None:
    stub = models_pb2_grpc.ModelServiceStub(daemon.channel)
    request = models_pb2.HookModelRequest(provider=models_pb2.PROVIDER_OLLAMA, name="llama2")
    request.options["num_ctx"] = number
    with pytest.raises(grpc.RpcError) as failed:
        stub.HookModel(request, timeout=60)
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info(failed.value).metadata["field"] == "options.num_ctx"


def test_metadata_is_taken_up_to_the_documented_size_every_time(daemon: RunningDaemon) -> None:
    # Between 8 KiB and the hard limit gRPC refuses by chance where only its defaults hold.
    for size in (9_000, 12_000, 15_000) * 10:
        error = raw(daemon, GET, b"", metadata=(("x-filler", "x" * size),))
        assert (size, error.code()) == (size, grpc.StatusCode.INVALID_ARGUMENT)
    error = raw(daemon, GET, b"", metadata=(("x-filler", "x" * 17_000),))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_socket_that_a_killed_daemon_left_is_replaced(home: Path) -> None:
    with run_daemon(home) as first:
        first.kill()
        assert first.socket.exists()
        with run_daemon(home) as second:
            assert second.process.poll() is None
