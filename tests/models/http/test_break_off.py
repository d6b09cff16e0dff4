"""Connections are given up when the network that they went through is gone."""

from __future__ import annotations

import asyncio

import pytest
from oblix.testing import Answer, Hang, OpenAIServer, Stall
from support.drivers.model_requests import ask
from support.drivers.waiting import eventually

from oblixd.models.base import Location, ModelErrorKind, State
from oblixd.models.embedded.connection import EmbeddedModels, EmbeddedSettings
from oblixd.models.hook_spec import spec_of
from oblixd.models.providers.openai import OpenAIConnection
from oblixd.models.registry import Registry


@pytest.fixture
def server():
    with OpenAIServer() as made:
        yield made


@pytest.fixture
async def connection(server):
    made = OpenAIConnection(spec_of("openai", "gpt-4o-mini", endpoint=server.url, api_key="key"))
    yield made
    await made.close()


async def test_requests_under_way_fail_at_once_and_later_ones_work(server, connection):
    server.script(Answer("one two three", fault=Hang()), "fine")
    asking = asyncio.create_task(ask(connection))
    await asyncio.to_thread(server.wait_for_requests, 1)
    await connection.break_off()
    assert (await asking).error.kind is ModelErrorKind.UNREACHABLE
    assert (await ask(connection)).text == "fine"


async def test_an_answer_under_way_breaks_off_at_once(server, connection):
    server.script(Answer("one two three", fault=Stall(after=2)))
    asking = asyncio.create_task(ask(connection))
    await eventually(lambda: connection.status().state is State.READY)
    await connection.break_off()
    assert (await asking).error.kind is ModelErrorKind.BROKEN_STREAM


async def test_also_on_a_connection_that_was_kept(server, connection):
    server.script("fine", Answer("one two three", fault=Hang()))
    await ask(connection)
    asking = asyncio.create_task(ask(connection))
    await asyncio.to_thread(server.wait_for_requests, 2)
    await connection.break_off()
    assert (await asking).error.kind is ModelErrorKind.UNREACHABLE


async def test_nothing_open_is_nothing_to_break(connection):
    await connection.break_off()


async def test_only_the_connections_to_that_server_are_broken(tmp_path):
    embedded = EmbeddedModels(EmbeddedSettings(runtime_dir=tmp_path, state_dir=tmp_path))
    registry = Registry({"openai": OpenAIConnection, "embedded": embedded.connect}, [])
    with OpenAIServer() as gone, OpenAIServer() as here:
        hooks = [
            registry.hook("a", spec_of("openai", "gpt-4o-mini", endpoint=one.url, api_key="key"))
            for one in (gone, here)
        ]
        for one in (gone, here):
            one.script(Answer("one two three", first_token_s=0.2))
        asking = [asyncio.create_task(ask(hook.connection)) for hook in hooks]
        for one in (gone, here):
            await asyncio.to_thread(one.wait_for_requests, 1)
        await registry.break_off(hooks[0].connection.origin)
        broken, whole = await asyncio.gather(*asking)
        assert hooks[0].connection.location is Location.CLOUD
        await registry.close()
    assert broken.error is not None
    assert whole.text == "one two three"
