"""What the daemon tells of itself in numbers, and which problems it remembers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest
from oblix import OblixClient, OblixError
from oblix.testing import Answer, OllamaServer
from oblix.v1 import daemon_pb2, daemon_pb2_grpc, endpoint_pb2, endpoint_pb2_grpc
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from support.drivers.daemon import RunningDaemon, run_daemon
from support.repository import files

SECRET = "the prompt that nobody may see"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with run_daemon(
        tmp_path_factory.mktemp("metrics"), OBLIX_EMBEDDED_ENABLED="false", OBLIX_HTTP_PORT="0"
    ) as one:
        yield one


def text_of(daemon: RunningDaemon) -> str:
    stub = daemon_pb2_grpc.DaemonServiceStub(daemon.channel)
    return stub.GetMetrics(daemon_pb2.GetMetricsRequest()).text


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(text: str, name: str, **labels: str) -> float:
    samples = [sample for family in families(text).values() for sample in family.samples]
    return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())


async def test_executions_are_counted_by_model_and_outcome(
    daemon: RunningDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBLIX_HOME", str(daemon.home))
    with OllamaServer(["llama2"]) as server:
        server.default = lambda _: Answer("four words of answer")
        async with OblixClient() as client:
            await client.hook_model("ollama", "llama2", endpoint=server.url)
            await client.execute(SECRET, stream=False)
            await client.execute(SECRET, stream=False)
    async with OblixClient() as client:
        with pytest.raises(OblixError):
            await client.execute(SECRET, stream=False, model="ollama:nobody")
    text = text_of(daemon)
    model = "ollama:llama2"
    assert value(text, "oblix_executions_total", model=model, outcome="stop") == 2
    assert value(text, "oblix_execution_duration_seconds_count", model=model) == 2
    assert value(text, "oblix_time_to_first_token_seconds_bucket", model=model, le="+Inf") == 2
    assert value(text, "oblix_tokens_total", model=model, direction="output") > 0
    assert value(text, "oblix_executions") == 0
    assert SECRET not in text


def test_the_endpoint_shows_them_to_who_has_a_token(daemon: RunningDaemon) -> None:
    stub = endpoint_pb2_grpc.EndpointServiceStub(daemon.channel)
    url = stub.OpenEndpoint(endpoint_pb2.OpenEndpointRequest()).url
    assert httpx.get(f"{url}/metrics", timeout=60).status_code == 401
    request = endpoint_pb2.CreateTokenRequest(name="prometheus", scope=endpoint_pb2.TOKEN_SCOPE_READ)
    headers = {"Authorization": f"Bearer {stub.CreateToken(request).text}"}
    reply = httpx.get(f"{url}/metrics", headers=headers, timeout=60)
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "oblix_uptime_seconds" in families(reply.text)
    refused = httpx.post(f"{url}/v1/chat/completions", json={}, headers=headers, timeout=60)
    assert (refused.status_code, refused.headers["x-oblix-reason"]) == (403, "SCOPE_MISSING")


def test_the_page_names_each_metric_and_no_other(daemon: RunningDaemon) -> None:
    page = (files.ROOT / "docs" / "reference" / "metrics.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(oblix_\w+)`", row.split("|")[1])}
    shown = set(re.findall(r"^# TYPE (oblix_\w+)", text_of(daemon), re.MULTILINE))
    optional = {"oblix_machine_cpu_percent", "oblix_machine_memory_percent"}
    assert (
        named - optional
        == {name.removesuffix("_created") for name in shown if "_created" not in name} - optional
    )


async def test_the_last_problems_are_remembered_with_their_request(
    daemon: RunningDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBLIX_HOME", str(daemon.home))
    with OllamaServer(["broken"]) as server:
        url = server.url
    async with OblixClient() as client:
        await client.hook_model("ollama", "broken", endpoint=url)
        with pytest.raises(OblixError):
            await client.execute(SECRET, stream=False, request_id="the-failed-one")
    stub = daemon_pb2_grpc.DaemonServiceStub(daemon.channel)
    newest = stub.GetInfo(daemon_pb2.GetInfoRequest()).recent_problems[0]
    assert (newest.level, newest.request_id) == ("warning", "the-failed-one")
    assert "execution the-failed-one failed with" in newest.text
    log = daemon.errors.read_text()
    assert "execution the-failed-one failed with" in log
    assert SECRET not in log
    assert SECRET not in json.dumps(newest.text)
