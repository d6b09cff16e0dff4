"""Where a client takes a model's key from."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked
from oblix import FailedPreconditionError, InvalidArgumentError, OblixClient
from oblix.testing import ClaudeServer, OpenAIServer

KEY = "sk-of-mine-0123456789"


@pytest.fixture
def openai() -> Iterator[OpenAIServer]:
    with OpenAIServer(api_key=KEY) as server:
        yield server


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(f"  {KEY}\n")
    return path


def write(path: Path, text: str) -> None:
    path.write_text(text)


class Entries(KeyringBackend):
    """A keyring in memory."""

    priority = 1

    def __init__(self, **entries: str) -> None:
        super().__init__()
        self.entries = entries
        self.is_locked = False

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[username] = password

    def get_password(self, service: str, username: str) -> str | None:
        if self.is_locked:
            raise KeyringLocked("nobody unlocked it")
        return self.entries.get(username) if service == "oblix" else None


@pytest.fixture
def entries() -> Iterator[Entries]:
    before = keyring.get_keyring()
    entries = Entries()
    keyring.set_keyring(entries)
    yield entries
    keyring.set_keyring(before)


async def asks(client: OblixClient, server: OpenAIServer | ClaudeServer, **options: object) -> str:
    provider = "claude" if isinstance(server, ClaudeServer) else "openai"
    await client.hook_model(provider, server.models[0], endpoint=server.url, **options)
    return (await client.execute("Hello", stream=False))["response"]


async def test_a_key_file_is_read(client: OblixClient, openai: OpenAIServer, key_file: Path) -> None:
    assert await asks(client, openai, api_key_file=key_file) == "You said: Hello"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_key_file_that_others_can_read_is_refused_with_the_command(
    client: OblixClient, key_file: Path, mode: int
) -> None:
    key_file.chmod(mode)
    with pytest.raises(FailedPreconditionError) as caught:
        asyncio.run(client.hook_model("openai", "gpt-4o-mini", api_key_file=str(key_file)))
    assert caught.value.reason == "KEY_FILE_UNSAFE"
    assert f"chmod 600 {key_file}" in caught.value.message
    assert client.list_models() == {}


async def test_a_malformed_key_is_refused_and_not_shown(client: OblixClient, key_file: Path) -> None:
    for path in (key_file.parent, key_file.with_name("missing")):
        with pytest.raises(FailedPreconditionError) as refused:
            await client.hook_model("openai", "gpt-4o-mini", api_key_file=path)
        assert refused.value.reason == "KEY_FILE_UNUSABLE"
    fifo = key_file.with_name("fifo")
    os.mkfifo(fifo, 0o600)
    with pytest.raises(FailedPreconditionError, match="not a file"):
        await client.hook_model("openai", "gpt-4o-mini", api_key_file=fifo)
    for content in ("", "SECRET one\nSECRET two", "SECRET\N{KEY}", "SECRET" * 2000):
        write(key_file, content)
        with pytest.raises(InvalidArgumentError) as caught:
            await client.hook_model("openai", "gpt-4o-mini", api_key_file=key_file)
        assert "SECRET" not in f"{caught.value} {caught.value.metadata}"
    with pytest.raises(InvalidArgumentError, match="both"):
        await client.hook_model("openai", "gpt-4o-mini", api_key=KEY, api_key_file=key_file)


async def test_the_call_goes_before_the_file_and_that_before_the_environment(
    client: OblixClient, openai: OpenAIServer, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    with pytest.raises(FailedPreconditionError):
        await asks(client, openai)
    assert await asks(client, openai, api_key_file=key_file) == "You said: Hello"
    write(key_file, "sk-wrong")
    assert await asks(client, openai, api_key=KEY) == "You said: Hello"
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    assert await asks(client, openai) == "You said: Hello"


async def test_the_keyring_comes_last_and_its_entry_is_that_of_the_endpoint(
    client: OblixClient, openai: OpenAIServer, entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries.entries = {"openai": "sk-for-nobody-else", openai.url: KEY}
    assert await asks(client, openai) == "You said: Hello"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    with pytest.raises(FailedPreconditionError):
        await asks(client, openai)


async def test_a_locked_keyring_says_what_to_do(client: OblixClient, entries: Entries) -> None:
    entries.is_locked = True
    with pytest.raises(FailedPreconditionError, match="nobody unlocked it") as caught:
        await client.hook_model("claude", "claude-3-haiku-20240307")
    assert caught.value.reason == "KEYRING_UNUSABLE"
    # A model that never has a key asks for none.
    await client.hook_model("ollama", "llama2")


async def test_without_a_keyring_there_is_just_no_key(client: OblixClient, openai: OpenAIServer) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        await asks(client, openai)
    assert caught.value.reason == "MODEL_KEY_REFUSED"
