"""What the configuration says of models and policies holds for programs, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from oblix import InvalidArgumentError, OblixClient
from oblix.testing import OpenAIServer
from support.drivers.daemon import RunningDaemon, run_daemon


@pytest.fixture
def proxy() -> Iterator[OpenAIServer]:
    with OpenAIServer(["gpt-4o-mini"]) as server:
        yield server


@pytest.fixture
def client(tmp_path: Path, proxy: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[OblixClient]:
    monkeypatch.setenv("OBLIX_HOME", str(tmp_path))
    with run_daemon(tmp_path, OBLIX_OPENAI_ENDPOINT=proxy.url):
        yield OblixClient()


async def test_a_hook_without_an_endpoint_goes_to_the_configured_one(
    client: OblixClient, proxy: OpenAIServer
) -> None:
    await client.hook_model("openai", "gpt-4o-mini", api_key="sk-test")
    answer = await client.execute("Hi", stream=False)
    assert answer["model_id"] == "openai:gpt-4o-mini"
    assert len(proxy.requests) == 1
    await client.shutdown()


async def test_a_session_can_only_have_a_policy_that_there_is(client: OblixClient) -> None:
    with pytest.raises(InvalidArgumentError, match="There are: balanced") as refused:
        await client.create_session(routing_policy="nope")
    assert refused.value.reason == "POLICY_UNKNOWN"
    session = await client.create_session(routing_policy="private")
    with pytest.raises(InvalidArgumentError):
        await client.update_session(session, routing_policy="nope")
    await client.shutdown()


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("POLICY", "nope", "no routing policy 'nope'"),
        ("POLICIES", "night = nope", "no routing policy 'nope'"),
        ("POLICIES", "balanced = private", "always there"),
        ("RULES", "category=medical -> nope", "no routing policy 'nope'"),
    ],
)
def test_a_routing_that_can_t_be_keeps_the_daemon_from_starting(
    tmp_path: Path, setting: str, value: str, said: str
) -> None:
    daemon = RunningDaemon(tmp_path, {f"OBLIX_ROUTING_{setting}": value})
    assert daemon.process.wait(60) == 78
    daemon.end()
    told = daemon.errors.read_text()
    assert "[routing]" in told
    assert said in told
