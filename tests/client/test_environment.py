"""The server that a program's environment names, and the key that belongs to it."""

from __future__ import annotations

import keyring
import pytest
from keyring.backend import KeyringBackend
from oblix import InvalidArgumentError, ModelType
from oblix._convert.api_keys import key_of
from oblix._convert.environment import certificates, network_hint, ollama_url, surroundings
from support.companies import Authority


class Kept(KeyringBackend):
    """A keyring with a key for everything."""

    priority = 1

    def set_password(self, service: str, username: str, password: str) -> None:
        """Nothing is kept."""

    def get_password(self, service: str, username: str) -> str:
        return f"canary-of-{username}"


@pytest.fixture
def restore_environ():
    former = keyring.get_keyring()
    keyring.set_keyring(Kept())
    yield
    keyring.set_keyring(former)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("box", "http://box:11434"),
        ("box:1234", "http://box:1234"),
        (":1234", "http://127.0.0.1:1234"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("http://box", "http://box:80"),
        ("https://ollama.com", "https://ollama.com:443"),
        ("https://box:1/ollama/", "https://box:1/ollama"),
        ("[::1]:8080", "http://[::1]:8080"),
        ('"box:1234"', "http://box:1234"),
    ],
)
def test_ollama_host_is_read_as_its_own_client_reads_it(given: str, url: str) -> None:
    assert ollama_url(given) == url


def test_an_ollama_host_that_can_not_be_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="OLLAMA_HOST"):
        ollama_url("box:port")


@pytest.mark.parametrize(
    ("kind", "environ", "endpoint", "key"),
    [
        (ModelType.OPENAI, {"OPENAI_BASE_URL": "https://x/v1", "OPENAI_API_KEY": "k"}, "https://x/v1", "k"),
        (ModelType.OPENAI, {"OPENAI_BASE_URL": "https://x/v1", "ANTHROPIC_API_KEY": "k"}, "https://x/v1", ""),
        (ModelType.CLAUDE, {"ANTHROPIC_BASE_URL": "https://y", "ANTHROPIC_API_KEY": "k"}, "https://y", "k"),
        (ModelType.OLLAMA, {"OLLAMA_HOST": "box", "OLLAMA_API_KEY": "k"}, "http://box:11434", "k"),
        (ModelType.OLLAMA, {"OLLAMA_API_KEY": "k"}, "", ""),
        (ModelType.CUSTOM, {"OPENAI_BASE_URL": "https://x/v1", "OPENAI_API_KEY": "k"}, "", ""),
    ],
)
def test_a_url_and_its_key_come_out_of_one_environment(kind, environ, endpoint, key) -> None:
    found = surroundings(kind, environ)
    assert (found.endpoint, found.key) == (endpoint, key)


async def test_a_url_of_the_environment_never_gets_a_key_of_the_keyring(restore_environ) -> None:
    around = surroundings(ModelType.OPENAI, {"OPENAI_BASE_URL": "https://project.example/v1"})
    assert await key_of(ModelType.OPENAI, None, None, None, around) == ""
    nothing = surroundings(ModelType.OPENAI, {})
    assert await key_of(ModelType.OPENAI, None, None, None, nothing) == "canary-of-openai"
    named = "https://named.example/v1"
    assert await key_of(ModelType.OPENAI, named, None, None, around) == f"canary-of-{named}"


async def test_a_hook_goes_where_the_environment_says(client, ollama, monkeypatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", ollama.url.removeprefix("http://"))
    await client.hook_model("ollama", "llama2")
    assert (await client.execute("Hi", stream=False))["response"] == "You said: Hi"
    await client.shutdown()


def test_a_hook_sends_certificates_and_nothing_else_of_a_file(tmp_path) -> None:
    file = Authority(tmp_path).file
    secret = "-----BEGIN " + "PRIVATE KEY-----\ncanary\n-----END " + "PRIVATE KEY-----\n"
    file.write_text(file.read_text() + secret)
    sent = certificates({"ca_file": file, "num_ctx": 1})
    assert sent["ca_data"].count("BEGIN CERTIFICATE") == 1
    assert "canary" not in sent["ca_data"]
    assert certificates({"ca_dir": tmp_path})["ca_data"] == sent["ca_data"]
    with pytest.raises(InvalidArgumentError, match="it holds none"):
        certificates({"ca_file": __file__})


def test_a_proxy_of_the_environment_is_told_with_the_command() -> None:
    assert "HTTPS_PROXY of this environment" in network_hint({"HTTPS_PROXY": "http://me:canary@proxy:1"})
    assert "canary" not in network_hint({"HTTPS_PROXY": "http://me:canary@proxy:1"})
    assert network_hint({}) == ""
