"""Who may call the endpoint, and what hostile or broken clients get."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
from oblix.testing import Answer, Stall
from oblix.v1 import endpoint_pb2, executions_pb2, executions_pb2_grpc
from support.drivers.waiting import eventually
from support.endpoint import MODEL, TRUST, WAIT_S, Served

ASK = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
PATIENTLY = {"timeout": WAIT_S, "verify": TRUST}
PATHS = ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat"]


@pytest.mark.parametrize("path", PATHS)
def test_nobody_calls_without_a_token(shared_endpoint: Served, path: str) -> None:
    prompts = len(shared_endpoint.server.requests)
    assert httpx.post(shared_endpoint.url + path, json=ASK, **PATIENTLY).status_code == 401
    assert (
        httpx.post(
            shared_endpoint.url + path, json=ASK, headers={"x-api-key": "oblix-wrong"}, **PATIENTLY
        ).status_code
        == 401
    )
    assert len(shared_endpoint.server.requests) == prompts


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "api-key"])
def test_a_token_stands_where_each_client_puts_its_key(shared_endpoint: Served, header: str) -> None:
    value = f"Bearer {shared_endpoint.token}" if header == "Authorization" else shared_endpoint.token
    assert (
        httpx.get(f"{shared_endpoint.url}/v1/models", headers={header: value}, **PATIENTLY).status_code == 200
    )


async def test_a_hundred_agents_of_one_tool_are_answered_at_once(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(*[Answer("a b", fault=Stall(after=1))] * 100)
    key = {"Authorization": f"Bearer {shared_endpoint.token}"}
    unlimited = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=shared_endpoint.url, headers=key, limits=unlimited, **PATIENTLY) as client,
        AsyncExitStack() as agents,
    ):
        lines = []
        for _ in range(100):
            asked = client.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True})
            reply = await agents.enter_async_context(asked)
            assert reply.status_code == 200
            # Who lets go of a reader hangs up.
            lines.append(reply.aiter_lines())
            assert "delta" in await anext(lines[-1])


def test_a_revoked_token_is_refused_at_once(shared_endpoint: Served) -> None:
    token = shared_endpoint.new_token("gone")
    assert shared_endpoint.http(token).get("/v1/models").status_code == 200
    shared_endpoint.stub.RevokeToken(endpoint_pb2.RevokeTokenRequest(name="gone"))
    assert shared_endpoint.http(token).get("/v1/models").status_code == 401
    names = [one.name for one in shared_endpoint.stub.ListTokens(endpoint_pb2.ListTokensRequest()).tokens]
    assert "gone" not in names


def test_a_token_that_is_local_only_reaches_no_cloud_model(shared_endpoint: Served) -> None:
    prompts = len(shared_endpoint.server.requests)
    reply = shared_endpoint.http(shared_endpoint.new_token("careful", local_only=True)).post(
        "/v1/chat/completions", json=ASK
    )
    assert reply.status_code == 403
    assert reply.headers["x-oblix-reason"] == "NO_MODEL_ALLOWED"
    assert len(shared_endpoint.server.requests) == prompts


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", ""])
def test_a_name_that_dns_made_ours_is_refused(shared_endpoint: Served, host: str) -> None:
    reply = shared_endpoint.http(Host=host).get("/v1/models")
    assert reply.status_code in (400, 403)


def test_a_web_page_is_refused_unless_the_configuration_names_it(shared_endpoint: Served) -> None:
    bad = shared_endpoint.http(Origin="http://evil.example").get("/v1/models")
    assert (bad.status_code, bad.headers["x-oblix-reason"]) == (403, "ORIGIN_REFUSED")
    assert "access-control-allow-origin" not in bad.headers
    good = shared_endpoint.http(Origin="http://good.example").get("/v1/models")
    assert good.headers["access-control-allow-origin"] == "http://good.example"
    preflight = httpx.options(f"{shared_endpoint.url}/v1/models", headers={"Origin": "http://good.example"})
    assert preflight.headers["access-control-allow-origin"] == "http://good.example"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"messages": []}', "model"),
        (b'{"model": 5}', "model"),
        (b'{"model": "auto", "messages": [5]}', "messages[0]"),
        (b'{"model": "auto", "messages": [{"role": "king"}]}', "messages[0].role"),
        (b'{"model": "auto", "messages": []}', "messages"),
        (b'{"model": "auto", "messages": [{"role": "user", "content": "x"}], "seed": 1.5}', "seed"),
        (
            b'{"model": "auto", "messages": [{"role": "user", "content": "x"}], "temperature": 9}',
            "temperature",
        ),
        (b"[" * 100_000, "body"),
    ],
)
def test_a_body_that_is_wrong_names_the_field(shared_endpoint: Served, body: bytes, field: str) -> None:
    reply = shared_endpoint.http().post("/v1/chat/completions", content=body)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["param"] == field
    assert field in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/v1/messages", {"max_tokens": 5, "messages": []}, "messages takes 1 to"),
        (
            "/v1/messages",
            {"max_tokens": 0, "messages": [{"role": "user", "content": "x"}]},
            "max_tokens takes",
        ),
        ("/api/chat", {"messages": [{"role": "assistant", "content": "x"}]}, "messages takes a last message"),
        ("/api/generate", {"prompt": " "}, "prompt takes a prompt"),
        ("/v1/responses", {"input": "x", "temperature": 3}, "temperature takes 0 to 2"),
    ],
)
def test_each_api_s_own_name_of_the_field_is_told(
    shared_endpoint: Served, path: str, body: dict, words: str
) -> None:
    reply = shared_endpoint.http().post(path, json={"model": "auto", **body})
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error if isinstance(error, str) else error["message"]).startswith(words)


def test_paths_and_methods_that_are_not_there_answer_in_the_api_s_form(shared_endpoint: Served) -> None:
    assert shared_endpoint.http().get("/v1/nothing").json()["error"]["code"] == "path_unknown"
    wrong = shared_endpoint.http().get("/v1/messages")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "error")
    assert "error" in shared_endpoint.http().get("/api/nothing").json()
    assert httpx.get(f"{shared_endpoint.url}/health", **PATIENTLY).json()["status"] == "ok"


def test_a_body_that_is_too_large_is_refused(shared_endpoint: Served) -> None:
    reply = shared_endpoint.http().post("/v1/chat/completions", content=b"x" * (33 << 20))
    assert reply.status_code == 413


def test_rubbish_on_the_port_ends_its_connection_and_nothing_else(shared_endpoint: Served) -> None:
    place = urlsplit(shared_endpoint.url)
    for rubbish in (b"\x16\x03\x01\x02\x00" + b"\x00" * 60, b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n"):
        with socket.create_connection((place.hostname, place.port)) as one:
            one.sendall(rubbish)
            one.shutdown(socket.SHUT_WR)
            while one.recv(4096):
                pass
    assert shared_endpoint.http().get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    ("path", "field", "name"),
    [
        ("/v1/messages", {"top_k": 5}, "top_k"),
        ("/api/chat", {"keep_alive": "5m"}, "keep_alive"),
        ("/api/chat", {"options": {"top_k": 5}}, "options.top_k"),
        ("/v1/responses", {"tools": [{"type": "web_search"}]}, "tools:web_search"),
    ],
)
def test_ignored_tuning_fields_are_named(shared_endpoint: Served, path: str, field: dict, name: str) -> None:
    shared_endpoint.server.script("Hello.")
    body = {**ASK, "input": "hello", "stream": False, "max_tokens": 50, **field}
    reply = shared_endpoint.http().post(path, json=body)
    assert (reply.status_code, reply.headers["x-oblix-left-out"]) == (200, name)


async def test_a_client_that_hangs_up_frees_the_model(shared_endpoint: Served) -> None:
    shared_endpoint.server.script(Answer("word " * 10_000, tokens_per_second=50))
    executions = executions_pb2_grpc.ExecutionServiceStub(shared_endpoint.daemon.channel)
    with shared_endpoint.http().stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}) as reply:
        next(reply.iter_lines())
        request_id = reply.headers["x-oblix-request-id"]

    def state() -> int:
        listed = executions.ListExecutions(executions_pb2.ListExecutionsRequest()).executions
        return next(one.state for one in listed if one.request_id == request_id)

    await eventually(lambda: state() == executions_pb2.EXECUTION_STATE_CANCELLED)


async def test_a_client_that_waits_sees_signs_of_life(shared_endpoint: Served) -> None:
    signs = {
        "/v1/chat/completions": ": waiting",
        "/v1/responses": "event: response.in_progress",
        "/v1/messages": "event: ping",
        "/api/chat": '"done":false',
    }
    shared_endpoint.server.script(*[Answer("Late.", first_token_s=4.0)] * len(signs))

    async def lines_before(client: httpx.AsyncClient, path: str) -> list[str]:
        body = {**ASK, "input": "hello", "stream": True, "max_tokens": 50}
        before = []
        async with client.stream("POST", path, json=body) as reply:
            async for line in reply.aiter_lines():
                if "Late." in line:
                    break
                before.append(line)
        return before

    headers = {"Authorization": f"Bearer {shared_endpoint.token}"}
    async with httpx.AsyncClient(
        base_url=shared_endpoint.url, headers=headers, timeout=WAIT_S, verify=TRUST
    ) as client:
        before = await asyncio.gather(*(lines_before(client, path) for path in signs))
    for sign, lines in zip(signs.values(), before, strict=True):
        assert any(sign in line for line in lines), sign


def test_a_port_that_somebody_holds_is_told(shared_endpoint: Served) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        shared_endpoint.stub.CloseEndpoint(endpoint_pb2.CloseEndpointRequest())
        port = other.getsockname()[1]
        with pytest.raises(grpc.RpcError, match="somebody else holds it"):
            shared_endpoint.stub.OpenEndpoint(endpoint_pb2.OpenEndpointRequest(port=port))
    old_port = urlsplit(shared_endpoint.url).port
    again = shared_endpoint.stub.OpenEndpoint(endpoint_pb2.OpenEndpointRequest(port=old_port)).url
    assert again == shared_endpoint.url
    with pytest.raises(grpc.RpcError, match="The endpoint is open at"):
        shared_endpoint.stub.OpenEndpoint(endpoint_pb2.OpenEndpointRequest(port=1))
    assert json.loads(httpx.get(f"{again}/health", **PATIENTLY).text)["status"] == "ok"
