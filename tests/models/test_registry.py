"""Who holds which connection, and when it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from oblix.testing import Answer, ModelServer, OllamaServer, OpenAIServer
from support.drivers.model_requests import ask
from support.drivers.waiting import eventually
from support.proxies.tcp_proxy import door

from oblixd.errors import FailedPreconditionError, ResourceExhaustedError
from oblixd.models import hook_spec
from oblixd.models import registry as registry_module
from oblixd.models.base import Location, ModelErrorKind
from oblixd.models.embedded.connection import EmbeddedModels, EmbeddedSettings
from oblixd.models.hook_spec import HookSpec, spec_of
from oblixd.models.providers.catalog import providers
from oblixd.models.providers.ollama import OllamaConnection
from oblixd.models.providers.openai import OpenAIConnection
from oblixd.models.registry import SILENCE_S, Registry

PROVIDERS = {"ollama": OllamaConnection, "openai": OpenAIConnection}
LLAMA = spec_of("ollama", "llama2")
MISTRAL = spec_of("ollama", "mistral")


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def registry(clock: Clock) -> AsyncIterator[Registry]:
    registry = Registry(PROVIDERS, [], clock=clock)
    yield registry
    await registry.close()


async def test_the_same_hook_is_the_same_handle_for_all(registry: Registry) -> None:
    first = registry.hook("a", LLAMA)
    assert registry.hook("a", spec_of("ollama", "llama2", endpoint="http://localhost:11434/")) is first
    assert registry.hook("b", LLAMA) is first
    assert first.id == "ollama:llama2"


async def test_two_keys_are_two_connections(registry: Registry) -> None:
    one, other = (registry.hook("a", spec_of("openai", "gpt-4o", api_key=key)) for key in ("k1", "k2"))
    assert one.handle != other.handle
    assert one.connection is not other.connection
    assert one.id == other.id


async def test_handles_can_not_be_guessed(registry: Registry) -> None:
    handles = [registry.hook("a", spec_of("ollama", f"m{number}")).handle for number in range(100)]
    assert len(set(handles)) == 100
    assert all(len(handle) >= 32 for handle in handles)


async def test_resolving_keeps_the_order(registry: Registry) -> None:
    one, other = registry.hook("a", LLAMA), registry.hook("b", MISTRAL)
    assert registry.resolve([other.handle, one.handle, other.handle]) == [other, one]


async def test_an_unknown_handle_is_refused(registry: Registry) -> None:
    hook = registry.hook("a", LLAMA)
    for call in (
        lambda: registry.resolve([hook.handle, "unknown"]),
        lambda: registry.unhook("a", "unknown"),
        lambda: registry.unhook("b", hook.handle),
    ):
        with pytest.raises(FailedPreconditionError) as caught:
            call()
        assert caught.value.reason == "HANDLE_UNKNOWN"


async def test_a_name_in_place_of_a_handle_is_told_where_it_belongs(registry: Registry) -> None:
    with pytest.raises(FailedPreconditionError, match="send its name as `model`") as caught:
        registry.resolve(["ollama:llama2"])
    assert caught.value.reason == "HANDLE_UNKNOWN"


async def test_without_handles_the_configured_models_serve() -> None:
    registry = Registry(PROVIDERS, [LLAMA, MISTRAL])
    hooked = registry.hook("a", spec_of("openai", "gpt-4o", endpoint="http://127.0.0.1:1"))
    assert [hook.id for hook in registry.resolve([])] == ["ollama:llama2", "ollama:mistral"]
    assert [hook.handle for hook in registry.resolve([])] == ["", ""]
    assert [hook.id for hook in registry.hooks_of("a")] == [
        "ollama:llama2",
        "ollama:mistral",
        "openai:gpt-4o",
    ]
    assert [hook.id for hook in registry.hooks_of("b")] == ["ollama:llama2", "ollama:mistral"]
    assert registry.resolve([hooked.handle]) == [hooked]
    await registry.close()


async def test_the_servers_of_all_models_are_told_apart_by_where_they_run() -> None:
    registry = Registry(PROVIDERS, [LLAMA, MISTRAL])
    for name in ("gpt-4o", "gpt-4o-mini"):
        registry.hook("a", spec_of("openai", name, endpoint="http://127.0.0.1:1"))
    assert registry.origins(Location.CLOUD) == ["http://127.0.0.1:1"]
    assert registry.origins(Location.LOCAL) == ["http://localhost:11434"]
    registry.unhook("a", "")
    assert registry.origins(Location.CLOUD) == []
    await registry.close()


async def test_hooking_what_is_configured_shares_its_connection() -> None:
    registry = Registry(PROVIDERS, [LLAMA])
    hooked = registry.hook("a", LLAMA)
    assert hooked.handle
    assert hooked.connection is registry.resolve([])[0].connection
    registry.unhook("a", hooked.handle)
    error = (await ask(registry.resolve([])[0].connection)).error
    assert error is not None
    assert "isn't running" in error.message, "it is still open, and tries"
    await registry.close()


async def test_a_handle_lives_until_its_last_client_let_go(registry: Registry) -> None:
    hook = registry.hook("a", LLAMA)
    registry.hook("b", LLAMA)
    registry.unhook("a", hook.handle)
    assert registry.resolve([hook.handle]) == [hook]
    registry.unhook("b", "")
    with pytest.raises(FailedPreconditionError):
        registry.resolve([hook.handle])
    assert registry.hook("a", LLAMA).handle != hook.handle


async def test_unhooking_all_of_nothing_is_no_error(registry: Registry) -> None:
    registry.unhook("nobody", "")


async def test_a_silent_client_lets_go_after_an_hour(registry: Registry, clock: Clock) -> None:
    silent = registry.hook("silent", LLAMA)
    alive = registry.hook("alive", MISTRAL)
    clock.now_s += SILENCE_S - 1
    registry.touch("alive")
    assert registry.resolve([silent.handle]) == [silent]
    clock.now_s += 2
    registry.touch("alive")
    assert registry.resolve([alive.handle]) == [alive]
    with pytest.raises(FailedPreconditionError):
        registry.resolve([silent.handle])
    assert registry.hooks_of("silent") == []


async def test_a_client_that_comes_back_in_time_keeps_its_handles(registry: Registry, clock: Clock) -> None:
    hook = registry.hook("a", LLAMA)
    for _ in range(5):
        clock.now_s += SILENCE_S - 1
        registry.touch("a")
    assert registry.resolve([hook.handle]) == [hook]


async def test_a_running_answer_ends_although_its_handle_went(
    registry: Registry, servers: Callable[[ModelServer], ModelServer]
) -> None:
    server = servers(OllamaServer())
    server.script(Answer("One two three", tokens_per_second=50))
    hook = registry.hook("a", spec_of("ollama", "llama2", endpoint=server.url))
    asking = asyncio.create_task(ask(hook.connection))
    await asyncio.to_thread(server.wait_for_requests, 1)
    registry.unhook("a", hook.handle)
    assert (await asking).text == "One two three"
    await _tasks_end()
    error = (await ask(hook.connection)).error
    assert error is not None
    assert "closed here" in error.message


async def test_a_new_configuration_opens_no_connection_that_nobody_asked_for(
    servers: Callable[[ModelServer], ModelServer],
) -> None:
    """A daemon that nobody has called yet reads its configuration again at SIGHUP."""
    server = servers(OpenAIServer())
    async with door(server.url.removesuffix("/v1")) as (watched, url):
        specs = [spec_of("openai", "gpt-4o", endpoint=url)]
        registry = Registry(PROVIDERS, [])
        registry.configure(PROVIDERS, specs, keep=lambda _spec: True)
        await asyncio.sleep(0)  # what would connect has begun by now
        assert not asyncio.all_tasks() - {asyncio.current_task()}
        registry.keep_warm()
        await eventually(lambda: watched.open == 1)
        await registry.close()


async def test_hooked_and_configured_models_have_open_connections(
    servers: Callable[[ModelServer], ModelServer],
) -> None:
    server = servers(OpenAIServer())
    async with door(server.url.removesuffix("/v1")) as (watched, url):
        registry = Registry(PROVIDERS, [spec_of("openai", "gpt-4o", endpoint=url)])
        registry.keep_warm()
        await eventually(lambda: watched.open == 1)
        hooked = registry.hook("a", spec_of("openai", "gpt-4o-mini", endpoint=url))
        await eventually(lambda: watched.open == 2)
        registry.unhook("a", hooked.handle)
        await eventually(lambda: watched.open == 1)
        await registry.close()
        await eventually(lambda: watched.open == 0)
        assert server.calls == []


async def test_a_client_that_comes_back_finds_the_connections_open(
    servers: Callable[[ModelServer], ModelServer],
) -> None:
    """As one process after the other does in a shell."""
    server = servers(OpenAIServer())
    async with door(server.url.removesuffix("/v1")) as (watched, url):
        registry = Registry(PROVIDERS, [])
        spec = spec_of("openai", "gpt-4o-mini", endpoint=url)
        for client in ("a", "b", "c"):
            hooked = registry.hook(client, spec)
            await eventually(lambda: watched.open == 1)
            assert (await ask(hooked.connection)).error is None
            registry.unhook(client, "")
            with pytest.raises(FailedPreconditionError):
                registry.resolve([hooked.handle])
        assert watched.opened == 1
        await registry.close()
        await eventually(lambda: watched.open == 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nobody_is_waited_for_longer_than_a_while(
    servers: Callable[[ModelServer], ModelServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "LINGER_S", 0.01)
    server = servers(OpenAIServer())
    async with door(server.url.removesuffix("/v1")) as (watched, url):
        registry = Registry(PROVIDERS, [])
        registry.hook("a", spec_of("openai", "gpt-4o-mini", endpoint=url))
        await eventually(lambda: watched.open == 1)
        registry.unhook("a", "")
        await eventually(lambda: watched.open == 0)
        await registry.close()


async def test_closing_ends_running_answers(servers: Callable[[ModelServer], ModelServer]) -> None:
    server = servers(OllamaServer())
    server.default = lambda _: Answer("One two three", tokens_per_second=0.1)
    spec = spec_of("ollama", "llama2", endpoint=server.url)
    registry = Registry(PROVIDERS, [spec])
    kept = registry.hook("a", spec_of("ollama", "llama2", endpoint=server.url, api_key="k"))
    gone = registry.hook("a", spec_of("ollama", "llama2", endpoint=server.url, api_key="l"))
    asking = [asyncio.create_task(ask(hook.connection)) for hook in [*registry.resolve([]), kept, gone]]
    await asyncio.to_thread(server.wait_for_requests, 3)
    registry.unhook("a", gone.handle)
    await registry.close()
    for heard in await asyncio.gather(*asking):
        assert heard.error is not None
        assert heard.error.kind in {ModelErrorKind.UNREACHABLE, ModelErrorKind.BROKEN_STREAM}
    await _tasks_end()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def _tasks_end() -> None:
    """Wait for what the registry does on its own."""
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


def test_every_provider_has_a_factory(tmp_path: Path) -> None:
    made = providers(EmbeddedModels(EmbeddedSettings(tmp_path, tmp_path)))
    assert set(made) == set(hook_spec.PROVIDERS)
    for provider in made:
        spec = HookSpec(provider, "any", "" if provider == "embedded" else "http://127.0.0.1:1")
        connection = made[provider](spec)
        assert (connection.provider, connection.name, connection.running) == (provider, "any", 0)


async def test_everyone_s_models_are_listed_once_and_without_others_handles(registry: Registry) -> None:
    mine = registry.hook("me", LLAMA)
    for other in (LLAMA, MISTRAL, spec_of("ollama", "mistral", options={"num_ctx": 512})):
        registry.hook("you", other)
    listed = registry.everyone("me")
    assert [(hook.id, hook.handle) for hook in listed] == [(mine.id, mine.handle), ("ollama:mistral", "")]


async def test_a_client_that_hooks_without_end_is_stopped(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "MOST_OF_CLIENT", 3)
    monkeypatch.setattr(registry_module, "MOST_OF_ALL", 5)
    specs = [spec_of("ollama", f"model{number}") for number in range(6)]
    hooks = [registry.hook("greedy", spec) for spec in specs[:3]]
    with pytest.raises(ResourceExhaustedError) as caught:
        registry.hook("greedy", specs[3])
    assert (caught.value.reason, caught.value.metadata["limit"]) == ("TOO_MANY_HOOKS", "3")
    assert registry.hook("greedy", specs[0]) is hooks[0]
    registry.hook("other", specs[3])
    registry.hook("other", specs[4])
    with pytest.raises(ResourceExhaustedError):
        registry.hook("third", specs[5])
    assert registry.hook("third", specs[0]) is hooks[0]
    registry.unhook("greedy", hooks[1].handle)
    registry.hook("greedy", specs[3])
