"""The embedded models' files: what is no model, is not there, or does not fit beside another one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
from support.data.gguf_files import LLAMA, file_of
from support.drivers.model_requests import ask
from support.drivers.waiting import eventually
from support.servers.embedded import LONG, NAME, SHORT, Connect, process_of

from oblixd.models.base import (
    ModelErrorKind,
    State,
)
from oblixd.models.embedded import weights


async def test_a_file_that_is_no_model_is_left_alone_after_some_tries(
    connect_embedded: Connect, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(file_of(LLAMA))
    connection = connect_embedded("broken", files={"broken": broken})
    for _ in range(3):
        heard = await ask(connection, SHORT)
        assert heard.error is not None
        assert "could not be loaded" in heard.error.message
    resting = await ask(connection, SHORT)
    assert resting.error is not None
    assert "left alone" in resting.error.message
    assert resting.error.retry_after_s is not None
    assert connection.status().state is State.UNAVAILABLE


async def test_another_name_is_not_known(connect_embedded: Connect) -> None:
    connection = connect_embedded("llama2")
    assert connection.status().state is State.UNAVAILABLE
    heard = await ask(connection, SHORT)
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.NOT_PULLED
    assert f"embedded:{NAME}" in heard.error.message


async def test_weights_that_are_not_there(connect_embedded: Connect, tmp_path: Path) -> None:
    connection = connect_embedded("gone", files={"gone": tmp_path / "gone.gguf"})
    assert connection.status().state is State.UNAVAILABLE
    assert "gone.gguf" in connection.status().reason


async def test_a_broken_file_says_so_and_is_forgiven_once_it_is_whole(
    connect_embedded: Connect, tmp_path: Path
) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(file_of(LLAMA)[:-200])
    connection = connect_embedded("mine", files={"mine": file, "other": None})
    assert connection.status().state is State.IDLE, "nothing was read yet"
    probed = await connection.probe()
    assert (probed.state, connection.status()) == (State.UNAVAILABLE, probed)
    assert "mine.gguf is cut short" in probed.reason
    heard = await ask(connection, SHORT)
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.NOT_PULLED
    file.unlink()
    file.symlink_to(weights.find(None).path)
    assert connection.status().state is State.IDLE
    assert (await ask(connection, SHORT)).error is None


async def test_models_make_room_for_each_other(connect_embedded: Connect) -> None:
    """Each takes about 0.7 GiB here, and there is room for one."""
    packaged = weights.find(None).path
    one = connect_embedded("one", files={"one": packaged, "two": packaged}, max_memory_bytes=600 << 20)
    two = connect_embedded("two", beside=one)
    asking = one.stream(LONG)
    await anext(asking)
    first = process_of(one)
    second = asyncio.create_task(ask(two, SHORT))
    await eventually(lambda: two.status().state is State.LOADING)
    assert first.is_running(), "who answers stays"
    await asking.aclose()
    assert (await second).error is None
    assert (one.pid, two.status().state) == (None, State.READY)
    assert (await ask(one, SHORT)).error is None
    assert (two.pid, two.status().state) == (None, State.IDLE)


async def test_a_model_that_needs_too_much_memory_is_not_started(connect_embedded: Connect) -> None:
    connection = connect_embedded(max_memory_bytes=1 << 28)
    heard = await ask(connection, SHORT)
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.NO_MEMORY
    assert "embedded models may take 0.2 GiB" in heard.error.message
    assert psutil.Process().children() == []
