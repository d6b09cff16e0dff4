"""A token that is local-only reaches no cloud model over TCP, by whichever call."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from oblix.testing import OpenAIServer, Refuse
from oblix.v1 import (
    daemon_pb2,
    daemon_pb2_grpc,
    embeddings_pb2,
    embeddings_pb2_grpc,
    endpoint_pb2,
    endpoint_pb2_grpc,
    executions_pb2,
    executions_pb2_grpc,
    messages_pb2,
)
from support.drivers.daemon import run_daemon

CONFIG = """
[openai]
endpoint = "{url}"
models = ["small"]
[[models]]
name = "vectors"
provider = "openai"
task = "embedding"
[embedded]
enabled = false
[[listen]]
address = "tcp://127.0.0.1:0"
"""
Call = Callable[[grpc.Channel, list[tuple[str, str]]], object]
Connected = tuple[grpc.Channel, Callable[[str, bool], list[tuple[str, str]]]]


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(["small", "vectors"]) as server:
        yield server


@pytest.fixture(scope="module")
def tcp_connection(tmp_path_factory: pytest.TempPathFactory, server: OpenAIServer) -> Iterator[Connected]:
    """A channel over TCP, and what makes the metadata with a new token."""
    home = tmp_path_factory.mktemp("local-only")
    (home / "config.toml").write_text(CONFIG.format(url=server.url))
    with run_daemon(home) as daemon:
        tokens = endpoint_pb2_grpc.EndpointServiceStub(daemon.channel)

        def metadata(name: str, local_only: bool) -> list[tuple[str, str]]:
            request = endpoint_pb2.CreateTokenRequest(
                name=name, scope=endpoint_pb2.TOKEN_SCOPE_EXECUTE, replace=True, local_only=local_only
            )
            return [("authorization", f"Bearer {tokens.CreateToken(request).text}")]

        info = daemon_pb2_grpc.DaemonServiceStub(daemon.channel).GetInfo(daemon_pb2.GetInfoRequest())
        with grpc.insecure_channel(info.addresses[0].partition("://")[2]) as channel:
            yield channel, metadata


def _execute(channel: grpc.Channel, metadata: list[tuple[str, str]]) -> object:
    message = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="Hello")])
    stub = executions_pb2_grpc.ExecutionServiceStub(channel)
    return list(stub.Execute(executions_pb2.ExecuteRequest(input=[message]), metadata=metadata, timeout=60))


def _embed(channel: grpc.Channel, metadata: list[tuple[str, str]]) -> object:
    stub = embeddings_pb2_grpc.EmbeddingServiceStub(channel)
    request = embeddings_pb2.EmbedTextsRequest(texts=["A dog."], model="openai:vectors")
    return stub.EmbedTexts(request, metadata=metadata, timeout=60)


@pytest.mark.parametrize("call", [_execute, _embed])
def test_it_is_refused_and_nothing_is_sent(
    tcp_connection: Connected, server: OpenAIServer, call: Call
) -> None:
    channel, metadata = tcp_connection
    before = len(server.requests)
    # Were it sent, the reason would be another one.
    server.embedding_fault = Refuse(500, "no embeddings now")
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, metadata("careful", True))
    status = status_pb2.Status.FromString(dict(refused.value.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert info.reason == "NO_MODEL_ALLOWED"
    assert len(server.requests) == before
    server.embedding_fault = None
    assert call(channel, metadata("free", False)), "another token gets its answer"
