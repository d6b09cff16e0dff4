"""grpcurl as a person uses it who debugs: nothing but the socket's path."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2
from oblix.testing import OllamaServer
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.grpc_calls import TIMEOUT_S

GRPCURL = Path(sys.executable).with_name("grpcurl")
SERVICES = [
    "DaemonService",
    "EmbeddingService",
    "EndpointService",
    "ExecutionService",
    "ModelService",
    "MonitorService",
    "SessionService",
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with run_daemon(tmp_path_factory.mktemp("grpcurl"), OBLIX_EMBEDDED_ENABLED="false") as daemon:
        yield daemon


@pytest.fixture
def grpcurl(daemon: RunningDaemon):
    def grpcurl(*words: str, data: object = None, ok: bool = True) -> str:
        flags = ["-plaintext", "-unix", "-H", "oblix-client: by-hand"]
        if data is not None:
            flags += ["-d", json.dumps(data)]
        command = [GRPCURL, *flags, str(daemon.socket), *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert (done.returncode == 0) is ok, done.stderr
        return done.stdout + done.stderr

    return grpcurl


def test_list_names_every_service(grpcurl) -> None:
    listed = grpcurl("list").split()
    ours = [f"oblix.v1.{service}" for service in SERVICES]
    assert [name for name in listed if name.startswith("oblix.")] == ours
    assert "grpc.health.v1.Health" in listed


def test_reflection_is_there_in_both_versions(grpcurl, daemon: RunningDaemon) -> None:
    versions = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
    assert [name for name in grpcurl("list").split() if "reflection" in name] == versions
    for version in versions:
        assert "stream .grpc.reflection" in grpcurl("describe", version)
        call = daemon.channel.stream_stream(
            f"/{version}/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=versions[0]),
            reflection_pb2.ServerReflectionRequest(file_by_filename="grpc/reflection/v1/reflection.proto"),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="oblix.v1.SessionService"),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="google.rpc.ErrorInfo"),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="not.There"),
        ]
        listed, v1, same, ours, details, missing = call(iter(asked), timeout=TIMEOUT_S)
        assert versions[0] in [one.name for one in listed.list_services_response.service]
        (file,) = v1.file_descriptor_response.file_descriptor_proto
        assert same.file_descriptor_response.file_descriptor_proto == [file]
        assert descriptor_pb2.FileDescriptorProto.FromString(file).package == "grpc.reflection.v1"
        assert len(ours.file_descriptor_response.file_descriptor_proto) > 3
        assert details.HasField("file_descriptor_response")
        assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.mark.parametrize("service", SERVICES)
def test_describe_shows_every_method(grpcurl, service: str) -> None:
    methods = grpcurl("list", f"oblix.v1.{service}").split()
    described = grpcurl("describe", f"oblix.v1.{service}")
    assert methods
    assert all(f"rpc {method.rpartition('.')[2]} " in described for method in methods)


def test_describe_shows_a_message(grpcurl) -> None:
    assert "string next_page_token = 2;" in grpcurl("describe", "oblix.v1.ListSessionsResponse")


def test_a_call_to_each_service(grpcurl, daemon: RunningDaemon) -> None:
    info = json.loads(grpcurl("oblix.v1.DaemonService/GetInfo"))
    assert info["paths"]["socket"] == str(daemon.socket)
    assert json.loads(grpcurl("oblix.v1.ModelService/ListModels")) == {}
    assert "resources" in json.loads(grpcurl("oblix.v1.MonitorService/GetSnapshot"))["snapshot"]
    assert json.loads(grpcurl("oblix.v1.ExecutionService/ListExecutions")) == {}
    created = json.loads(
        grpcurl("oblix.v1.SessionService/CreateSession", data={"session": {"title": "By hand"}})
    )
    listed = json.loads(grpcurl("oblix.v1.SessionService/ListSessions", data={"page_size": 1}))
    assert listed["sessions"] == [created["session"]]
    assert json.loads(grpcurl("grpc.health.v1.Health/Check")) == {"status": "SERVING"}


def test_a_prompt_by_hand_streams_its_events(grpcurl) -> None:
    with OllamaServer(["llama2"]) as server:
        hook = {"provider": "PROVIDER_OLLAMA", "name": "llama2", "endpoint": server.url}
        handle = json.loads(grpcurl("oblix.v1.ModelService/HookModel", data=hook))["handle"]
        prompt = {"input": [{"role": "ROLE_USER", "parts": [{"text": "Hello"}]}], "candidates": [handle]}
        events = grpcurl("oblix.v1.ExecutionService/Execute", data=prompt)
    told = list(_json_values(events))
    first, *deltas, last = [key for event in told for key in event]
    assert (first, set(deltas), last) == ("started", {"delta"}, "completed")
    assert "".join(event["delta"]["text"] for event in told[1:-1]) == "You said: Hello"


def _json_values(text: str) -> Iterator[dict]:
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:]


def test_an_error_names_its_reason(grpcurl) -> None:
    shown = grpcurl("oblix.v1.SessionService/GetSession", data={"session_id": "nobody"}, ok=False)
    assert "Code: NotFound" in shown
    assert '"reason":"SESSION_NOT_FOUND"' in shown


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("oblix.v1.SessionService.GetSession", "rpc GetSession"),
        ("oblix.v1.ExecuteRequest.session_id", "string session_id"),
        ("grpc.reflection.v1.ServerReflection.ServerReflectionInfo", "rpc ServerReflectionInfo"),
    ],
)
def test_a_method_or_a_field_is_described_by_its_name(grpcurl, symbol: str, words: str) -> None:
    assert words in grpcurl("describe", symbol)


def test_an_unknown_symbol_is_not_described(grpcurl) -> None:
    for symbol in ("oblix.v1.SessionService.Nope", "oblix.v1.Nope", "nope"):
        assert "not found" in grpcurl("describe", symbol, ok=False)


def test_a_prompt_outside_a_session_is_checked_part_by_part(grpcurl) -> None:
    for message, reason in (
        ({"role": "ROLE_USER", "parts": [{}]}, "EMPTY_PART"),
        ({"parts": [{"text": "Hi"}]}, "INVALID_ROLE"),
        ({"role": "ROLE_USER", "parts": [{"image": {"data": "AAAA"}}]}, "INVALID_MEDIA_TYPE"),
    ):
        said = grpcurl("oblix.v1.ExecutionService/Execute", data={"input": [message]}, ok=False)
        assert reason in said
        assert "input[0]" in said
