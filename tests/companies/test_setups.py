"""The five set-ups of a company that docs/how-to/company-network.md describes, with real parts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from oblix import OblixError
from oblix.testing import Answer
from support.companies import Gateway
from support.drivers.waiting import eventually
from support.faults import bad_ports

KEY = "sk-of-the-company"
DEPLOYMENT = "/openai/deployments/gpt"


@pytest.fixture
def azure(servers, authority) -> Callable[[str], Gateway]:
    """Starts a server as Azure's are, behind the company's proxy, for one path and its parameters."""

    def start(served: str) -> Gateway:
        path, _, query = served.partition("?")
        tls = authority.context("*.openai.azure.com")
        return servers(Gateway(["gpt"], prefix=path, query=query, header=("api-key", KEY), tls=tls))

    return start


@pytest.fixture
def network(company_proxy, authority) -> str:
    """The lines of a configuration for the way there."""
    return f"""
    [network]
    proxy = "{company_proxy.url}"
    ca_file = "{authority.file}"
    """


def test_each_set_up_has_its_part_of_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "company-network.md").read_text()
    for heading in ("Proxy only", "Own authority", "Azure", "without /v1", "Strict firewall"):
        assert heading in page


async def test_a_network_with_a_proxy_as_the_only_way_out(
    servers, configured_client, company_proxy, home
) -> None:
    server = servers(Gateway(["gpt"], header=("Authorization", f"Bearer {KEY}")))
    text = f"""
    [network]
    proxy = "{company_proxy.url}"
    [[models]]
    name = "gpt"
    provider = "custom"
    location = "cloud"
    endpoint = "http://models.company.test:{server.port}/v1"
    key_file = "{key_file(home)}"
    """
    async with configured_client(text) as client:
        answer = await client.execute("Hello", stream=False)
        assert answer["response"] == "You said: Hello"
        assert "canary" not in repr(client.get_model("custom", "gpt"))
    # It writes of a connection once that has ended.
    await eventually(lambda: "models.company.test" in company_proxy.log_text())
    assert "canary" not in (home / "stderr").read_text()


async def test_a_wrong_password_of_the_proxy_is_told(
    servers, configured_client, company_proxy, authority
) -> None:
    server = servers(Gateway(["gpt"], tls=authority.context("models.company.test")))
    text = f"""
    [network]
    proxy = "{company_proxy.url.replace("canary", "kanary")}"
    ca_file = "{authority.file}"
    [[models]]
    name = "gpt"
    provider = "custom"
    location = "cloud"
    endpoint = "https://models.company.test:{server.port}/v1"
    """
    async with configured_client(text) as client:
        with pytest.raises(OblixError) as caught:
            await client.execute("Hello", stream=False)
    assert "wants a user and a password" in caught.value.message
    assert "network.proxy" in caught.value.message
    assert "kanary" not in caught.value.message


async def test_a_network_with_a_certificate_authority_of_its_own(
    servers, configured_client, authority
) -> None:
    server = servers(Gateway(["gpt"], tls=authority.context("127.0.0.1")))
    model = f"""
    [[models]]
    name = "gpt"
    provider = "custom"
    location = "cloud"
    endpoint = "{server.url}/v1"
    """
    async with configured_client(model) as client:
        with pytest.raises(OblixError) as caught:
            await client.execute("Hello", stream=False)
    assert "its certificate is not trusted" in caught.value.message
    assert "network.ca_file" in caught.value.message
    async with configured_client(f'[network]\nca_file = "{authority.file}"\n{model}') as client:
        answer = await client.execute("Hello", stream=False)
        assert answer["response"] == "You said: Hello"
    async with configured_client(f'{model}\nca_dir = "{authority.file.parent}"') as client:
        assert (await client.execute("Hello", stream=False))["response"] == "You said: Hello"


async def test_own_authority_of_a_program_s_own_model(servers, unconfigured_client, authority) -> None:
    server = servers(Gateway(["gpt"], tls=authority.context("127.0.0.1")))
    await unconfigured_client.hook_model(
        "custom", "gpt", endpoint=server.url, location="cloud", ca_file=str(authority.file)
    )
    answer = await unconfigured_client.execute("Hello", stream=False)
    assert answer["response"] == "You said: Hello"


@pytest.mark.parametrize(
    ("given", "served"),
    [
        (
            "/openai/deployments/gpt/chat/completions?api-version=2025-01-01",
            f"{DEPLOYMENT}?api-version=2025-01-01",
        ),
        ("/openai/deployments/gpt", f"{DEPLOYMENT}?api-version=2024-10-21"),
        ("/?api-version=2024-06-01", f"{DEPLOYMENT}?api-version=2024-06-01"),
        ("", "/openai/v1"),
        ("/openai/v1/", "/openai/v1"),
    ],
)
async def test_a_deployment_on_azure_answers(
    azure: Callable[[str], Gateway],
    configured_client: Callable[..., Any],
    network: str,
    given: str,
    served: str,
) -> None:
    server = azure(served)
    text = f"""
    {network}
    [[models]]
    name = "gpt"
    provider = "openai"
    endpoint = "https://acme.openai.azure.com:{server.port}{given}"
    key_file = "{key_file(Path(os.environ["OBLIX_HOME"]))}"
    """
    async with configured_client(text) as client:
        answer = await client.execute("Hello", stream=False)
        assert answer["response"] == "You said: Hello"
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("prefix", "given"),
    [
        ("", ""),
        ("", "/"),
        ("", "/chat/completions"),
        ("/v1", ""),
        ("/v1", "/v1/chat/completions"),
        ("/llm/proxy", "/llm/proxy"),
        ("/llm/proxy/v1", "/llm/proxy"),
        ("/api/paas/v4", "/api/paas/v4"),
    ],
)
async def test_gateway_without_v1(servers, unconfigured_client, prefix: str, given: str) -> None:
    server = servers(Gateway(["gpt"], prefix=prefix))
    await unconfigured_client.hook_model("custom", "gpt", endpoint=server.url + given, location="cloud")
    answer = await unconfigured_client.execute("Hello", stream=False)
    assert answer["response"] == "You said: Hello"
    await unconfigured_client.execute("Again", stream=False)
    # What was found out is remembered.
    assert len([call for call in server.calls if call.method == "POST"]) <= 3


async def test_a_path_that_nobody_knows_is_told_with_all_that_was_tried(servers, unconfigured_client) -> None:
    server = servers(Gateway(["gpt"], prefix="/elsewhere"))
    await unconfigured_client.hook_model("custom", "gpt", endpoint=server.url, location="cloud")
    with pytest.raises(OblixError) as caught:
        await unconfigured_client.execute("Hello", stream=False)
    assert "/v1/chat/completions and /chat/completions were tried" in caught.value.message


async def test_strict_firewall_with_a_slow_model(
    servers, configured_client, company_proxy, authority
) -> None:
    server = servers(Gateway(["gpt"], tls=authority.context("slow.company.test")))
    model = """
    [[models]]
    name = "gpt"
    provider = "custom"
    location = "cloud"
    """
    with bad_ports.deaf() as dropped:
        direct = f'{model}\nconnect_timeout_s = 0.5\nendpoint = "http://127.0.0.1:{dropped}/v1"'
        async with configured_client(direct, HTTPS_PROXY="http://proxy.company.test:3128") as client:
            with pytest.raises(OblixError) as caught:
                await client.execute("Hello", stream=False)
    assert "no connection came about within 0.5 s" in caught.value.message
    network = f'[network]\nproxy = "{company_proxy.url}"\nca_file = "{authority.file}"\n'
    through = f'{network}{model}\nendpoint = "https://slow.company.test:{server.port}/v1"'
    server.script(Answer("late", first_token_s=3), Answer("late", first_token_s=3))
    async with configured_client(f"{through}\nfirst_token_timeout_s = 1") as client:
        with pytest.raises(OblixError, match="sent no content for 1 s"):
            await client.execute("Hello", stream=False)
    async with configured_client(f"{through}\nfirst_token_timeout_s = 600") as client:
        assert (await client.execute("Hello", stream=False))["response"] == "late"


def key_file(folder: Path) -> Path:
    """A file with the company's key, which only its owner may read."""
    path = folder / "company.key"
    path.touch(0o600)
    path.write_text(KEY)
    return path
