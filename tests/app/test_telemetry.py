"""Executions as traces and metrics at a real OTLP collector."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import grpc
import httpx
import pytest
from oblix.testing import Answer, OllamaServer
from oblix.v1 import (
    endpoint_pb2,
    endpoint_pb2_grpc,
    executions_pb2,
    executions_pb2_grpc,
    messages_pb2,
    models_pb2,
    models_pb2_grpc,
    sessions_pb2,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.grpc_calls import Wire
from support.repository import files
from support.servers import otlp_collector
from support.servers.otlp_collector import Collector, attributes

from oblixd.app import telemetry
from oblixd.app.telemetry import collector as settings
from oblixd.app.telemetry import genai
from oblixd.config import schema

PROMPT, ANSWER, KEY = (
    "the prompt that nobody may see",
    "the answer that nobody may see",
    "sk-of-the-collector",
)
QUIET = {"OBLIX_EMBEDDED_ENABLED": "false"}
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACE_PARENT = f"00-{TRACE}-{CALLER}-01"


def on(collector: Collector, **environ: str) -> dict[str, str]:
    return {**QUIET, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **environ}


def execute(
    daemon: RunningDaemon, url: str, *, metadata: tuple[tuple[str, str], ...] = (), **fields: object
) -> grpc.StatusCode:
    hook = models_pb2.HookModelRequest(provider=models_pb2.PROVIDER_OLLAMA, name="llama2", endpoint=url)
    handle = models_pb2_grpc.ModelServiceStub(daemon.channel).HookModel(hook).handle
    request = executions_pb2.ExecuteRequest(candidates=[handle], **fields)
    request.input.add(role=messages_pb2.ROLE_USER).parts.add(text=PROMPT)
    request.options.temperature = 0.5
    call = executions_pb2_grpc.ExecutionServiceStub(daemon.channel).Execute(request, metadata=metadata)
    with contextlib.suppress(grpc.RpcError):
        list(call)
    return call.code()


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_an_execution_is_a_trace(home: Path, protocol: str) -> None:
    serve = otlp_collector.http_collector if protocol == "http/protobuf" else otlp_collector.grpc_collector
    with serve() as collector, OllamaServer(["llama2"]) as server:
        server.default = lambda _: Answer(ANSWER)
        with run_daemon(home, **on(collector, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)) as daemon:
            session = Wire(daemon.channel).session()
            metadata = (("traceparent", TRACE_PARENT), ("oblix-program", "chat.py/4711"))
            execute(daemon, server.url, metadata=metadata, session_id=session, request_id="one")
    spans = by_name(collector.spans)
    whole, inner = spans["oblix.execution"], spans["chat llama2"]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, CALLER)
    assert (inner.trace_id, inner.parent_span_id) == (whole.trace_id, whole.span_id)
    assert (whole.kind, inner.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert whole.start_time_unix_nano <= inner.start_time_unix_nano < inner.end_time_unix_nano
    told = attributes(whole)
    assert told["oblix.request_id"] == "one"
    assert (told["oblix.client"], told["oblix.finish_reason"]) == ("chat.py", "stop")
    told = attributes(inner)
    assert told["gen_ai.operation.name"] == "chat"
    assert (told["gen_ai.provider.name"], told["gen_ai.request.model"]) == ("ollama", "llama2")
    assert f"http://{told['server.address']}:{told['server.port']}" == server.url
    assert (told["gen_ai.conversation.id"], told["gen_ai.request.temperature"]) == (session, 0.5)
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert told["gen_ai.usage.output_tokens"] > 0
    assert told["gen_ai.response.time_to_first_chunk"] > 0
    (resource,) = {json.dumps(attributes(one.resource)) for r in collector.traces for one in r.resource_spans}
    assert json.loads(resource)["service.name"] == "oblixd"


def test_executions_are_counted(home: Path) -> None:
    with (
        otlp_collector.http_collector() as collector,
        OllamaServer(["llama2"]) as server,
        run_daemon(home, **on(collector)) as daemon,
    ):
        for _ in range(3):
            execute(daemon, server.url)
        daemon.end()
    metrics = collector.metrics
    (duration,) = metrics["gen_ai.client.inference.duration"].histogram.data_points
    assert duration.count == 3
    assert list(duration.explicit_bounds)[:2] == [0.01, 0.02]
    (tokens,) = metrics["gen_ai.client.inference.usage.output_tokens"].sum.data_points
    assert tokens.as_int > 0
    assert attributes(tokens)["gen_ai.request.model"] == "llama2"


def test_a_failed_span_is_an_error_without_the_servers_words(home: Path) -> None:
    with otlp_collector.http_collector() as collector, OllamaServer(["llama2"]) as server:
        server.default = lambda _: Answer(status=400, error=f"bad: {PROMPT}")
        with run_daemon(home, **on(collector)) as daemon:
            assert execute(daemon, server.url) is not grpc.StatusCode.OK
    spans = by_name(collector.spans)
    for span in spans.values():
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert attributes(span)["error.type"].startswith("MODEL_")
    assert attributes(spans["chat llama2"])["gen_ai.response.finish_reasons"] == ["error"]
    (duration,) = collector.metrics["gen_ai.client.inference.duration"].histogram.data_points
    assert attributes(duration)["error.type"].startswith("MODEL_")
    assert PROMPT.encode() not in collector.raw


def test_prompts_are_sent_when_asked_for_and_never_local_only_ones(home: Path) -> None:
    (home / "config.toml").write_text("[telemetry]\ncontent = true\n")
    with otlp_collector.http_collector() as collector, OllamaServer(["llama2"]) as server:
        server.default = lambda _: Answer(ANSWER)
        with run_daemon(home, **on(collector)) as daemon:
            execute(daemon, server.url, request_id="open")
            wire = Wire(daemon.channel)
            private = wire.sessions.CreateSession(
                sessions_pb2.CreateSessionRequest(session=sessions_pb2.Session(local_only=True))
            )
            execute(daemon, server.url, session_id=private.session.id)
            execute(daemon, server.url, local_only=True)
    sent = [attributes(span) for span in collector.spans if span.name.startswith("chat ")]
    assert [("gen_ai.input.messages" in one) for one in sent] == [True, False, False]
    assert json.loads(sent[0]["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": PROMPT}]}
    ]
    assert json.loads(sent[0]["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": ANSWER}], "finish_reason": "stop"}
    ]
    assert collector.raw.count(PROMPT.encode()) == 1


def test_without_being_asked_no_word_and_no_key_leaves(home: Path) -> None:
    headers = home / "collector.headers"
    headers.touch(0o600)
    headers.write_text(f"authorization=Bearer {KEY}\n")
    with otlp_collector.http_collector() as collector, OllamaServer(["llama2"]) as server:
        server.default = lambda _: Answer(ANSWER)
        (home / "config.toml").write_text(
            f'[telemetry]\nenabled = "yes"\nendpoint = "{collector.endpoint}"\nheaders_file = "{headers}"\n'
        )
        with run_daemon(home, **QUIET) as daemon:
            execute(daemon, server.url)
    assert by_name(collector.spans).keys() == {"oblix.execution", "chat llama2"}
    assert {one["authorization"] for one in collector.headers} == {f"Bearer {KEY}"}
    for secret in (PROMPT, ANSWER, KEY):
        assert secret.encode() not in collector.raw


async def test_a_tool_of_the_endpoint_goes_on_with_its_trace(home: Path) -> None:
    with otlp_collector.http_collector() as collector, OllamaServer(["llama2"]) as server:
        (home / "config.toml").write_text(f'[ollama]\nendpoint = "{server.url}"\nmodels = ["llama2"]\n')
        with run_daemon(home, **on(collector, OBLIX_HTTP_PORT="0")) as daemon:
            stub = endpoint_pb2_grpc.EndpointServiceStub(daemon.channel)
            url = stub.OpenEndpoint(endpoint_pb2.OpenEndpointRequest()).url
            token = stub.CreateToken(
                endpoint_pb2.CreateTokenRequest(name="tool", scope=endpoint_pb2.TOKEN_SCOPE_EXECUTE)
            )
            body = {"model": "auto", "messages": [{"role": "user", "content": PROMPT}]}
            headers = {"Authorization": f"Bearer {token.text}", "traceparent": TRACE_PARENT}
            async with httpx.AsyncClient(timeout=60) as client:
                answer = await client.post(f"{url}/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}


def test_a_collector_that_is_away_keeps_nobody(home: Path) -> None:
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with OllamaServer(["llama2"]) as server, run_daemon(home, **QUIET, **away) as daemon:
        assert execute(daemon, server.url) is grpc.StatusCode.OK
    assert daemon.process.returncode == 0


@pytest.mark.parametrize(
    ("given", "environ", "wanted"),
    [
        ({}, {}, False),
        ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"}, True),
        ({}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x:4318"}, True),
        ({"enabled": "no"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"}, False),
        ({"enabled": "yes"}, {}, True),
        ({"enabled": "yes"}, {"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_settings_and_variables_turn_telemetry_on(
    given: dict[str, str], environ: dict[str, str], wanted: bool
) -> None:
    assert settings.is_wanted(schema.Telemetry(**given), environ) is wanted


def test_telemetry_that_is_off_imports_nothing() -> None:
    code = (
        "import os, sys; from oblixd.app.daemon import open_providers; "
        "from oblixd.config.schema import Telemetry; assert open_providers(Telemetry(), os.environ) is None; "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_libraries_the_daemon_says_what_to_install(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization={KEY}"}
    assert telemetry.open_providers(schema.Telemetry(enabled="yes"), environ) is None
    assert "pip install 'oblix[otel]'" in caplog.text
    assert not environ, "children would inherit the key"


@pytest.mark.parametrize(
    ("model", "origin", "provider", "port"),
    [
        ("claude:claude-opus", "https://api.anthropic.com", "anthropic", 443),
        ("custom:qwen", "https://api.groq.com", "groq", 443),
        ("custom:gpt", "https://mine.openai.azure.com", "azure.ai.openai", 443),
        ("openai:gpt", "http://127.0.0.1:8080", "openai", 8080),
        ("custom:x", "http://[::1]:8000", "custom", 8000),
        ("embedded:smollm2", "", "embedded", None),
    ],
)
def test_providers_have_the_conventions_names(
    model: str, origin: str, provider: str, port: int | None
) -> None:
    told = genai.model_attributes(model, origin)
    assert (told["gen_ai.provider.name"], told.get("server.port")) == (provider, port)


def test_the_page_names_all_that_is_sent() -> None:
    page = (files.ROOT / "docs/how-to/send-traces.md").read_text()
    listed = set(re.findall(r"`((?:gen_ai|oblix|server|error)\.[a-z_.]+)`", page))
    source = "".join(path.read_text() for path in files.sources("oblixd/app/telemetry"))
    written = set(re.findall(r'"((?:gen_ai|oblix|server|error)\.[a-z_.]+)"', source))
    written |= {f"gen_ai.usage.{name}" for name in genai.TOKENS}
    written |= {f"gen_ai.client.inference.usage.{name}" for name in genai.TOKENS}
    written |= {f"gen_ai.request.{name}" for name in ("temperature", "max_tokens", "top_p", "seed")}
    assert listed - {"gen_ai.client.operation.duration"} == written
