"""The embedded model: real weights, a real llama.cpp, in a process that can die."""

from __future__ import annotations

import asyncio
import json
import stat
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from oblix.v1 import messages_pb2
from support.drivers.model_requests import ask, chat, message, question
from support.drivers.waiting import eventually
from support.servers.embedded import LONG, SHORT, Connect, process_of

from oblixd.models.base import (
    Content,
    Finish,
    Location,
    ModelError,
    ModelErrorKind,
    Options,
    State,
    Tool,
    ToolChoice,
)
from oblixd.models.egress import allow_all


async def test_it_is_loaded_once_on_first_use(connect_embedded: Connect, home: Path) -> None:
    connection = connect_embedded(slots=2)
    assert (connection.location, connection.context_window) == (Location.LOCAL, 2048)
    assert connection.status().state is State.IDLE
    assert (await connection.probe()).state is State.IDLE, "a probe does not load it"
    asking = [asyncio.create_task(ask(connection, SHORT)) for _ in range(4)]
    await eventually(lambda: connection.status().state is State.LOADING)
    heard = await asyncio.gather(*asking)
    assert [one.error for one in heard] == [None] * 4
    assert all(one.text for one in heard)
    assert {one.finished.reason for one in heard if one.finished} <= {Finish.STOP, Finish.LENGTH}
    assert heard[0].finished is not None
    assert heard[0].finished.counts.input_tokens is not None
    assert heard[0].finished.counts.input_tokens > 5
    assert connection.status().state is State.READY
    workers = [child for child in psutil.Process().children() if "worker" in " ".join(child.cmdline())]
    assert [worker.pid for worker in workers] == [connection.pid]


async def test_its_process_is_for_its_user_alone_and_knows_no_key(
    connect_embedded: Connect, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("SOMETHING_ELSE", "canary")
    connection = connect_embedded()
    await ask(connection, SHORT)
    [socket] = (home / "run").iterdir()
    assert stat.S_ISSOCK(socket.stat().st_mode)
    assert stat.S_IMODE(socket.stat().st_mode) & 0o077 == 0
    process = process_of(connection)
    assert process.net_connections("inet") == []
    assert "canary" not in str(process.environ()) + str(process.cmdline())
    assert process.cwd() == "/"


async def test_killed_in_the_middle_it_is_back_with_the_next_prompt(connect_embedded: Connect) -> None:
    connection = connect_embedded()
    items = connection.stream(LONG)
    assert isinstance(await anext(items), Content)
    killed = process_of(connection)
    killed.kill()
    with pytest.raises(ModelError, match=r"died \(signal 9\)") as caught:
        async for _ in items:
            pass
    assert caught.value.kind is ModelErrorKind.FAILED
    assert connection.running == 0
    assert connection.status().state is State.IDLE
    assert (await ask(connection, SHORT)).error is None
    assert connection.pid not in {None, killed.pid}


async def test_it_is_unloaded_when_nobody_uses_it(connect_embedded: Connect, home: Path) -> None:
    connection = connect_embedded(idle_unload_s=0.2)
    assert (await ask(connection, SHORT)).error is None
    assert (await ask(connection, question("Tell me more", max_tokens=60))).error is None, "it is in use"
    process = process_of(connection)
    await eventually(lambda: not process.is_running())
    await eventually(lambda: not list((home / "run").iterdir()))
    assert connection.status().state is State.IDLE
    assert (await ask(connection, SHORT)).error is None


async def test_cancelling_frees_it(connect_embedded: Connect) -> None:
    """With one slot, the next prompt would have to wait for the end of a long answer."""
    connection = connect_embedded()
    # Neighbours of one role, as an interrupted answer leaves them, are no trouble to it.
    roles = [messages_pb2.ROLE_SYSTEM, messages_pb2.ROLE_USER, messages_pb2.ROLE_USER]
    prompt = chat([message(role, "Say hello.") for role in roles], SHORT.options)
    whole = await ask(connection, prompt)
    for _ in range(20):
        async with aclosing(connection.stream(LONG)) as items:
            await anext(items)
    after = await ask(connection, prompt)
    assert (after.error, after.text) == (None, whole.text)
    process = process_of(connection)
    before = process.cpu_times().user
    await asyncio.sleep(0.3)  # measures that it rests: nothing can be waited for
    assert process.cpu_times().user - before < 0.2


async def test_a_cancelled_wait_does_not_stop_the_loading(connect_embedded: Connect) -> None:
    connection = connect_embedded()
    first = asyncio.create_task(ask(connection, SHORT))
    second = asyncio.create_task(ask(connection, SHORT))
    await eventually(lambda: connection.status().state is State.LOADING)
    first.cancel()
    assert (await second).error is None


async def test_closing_while_it_loads_leaves_nothing(connect_embedded: Connect) -> None:
    connection = connect_embedded()
    asking = asyncio.create_task(ask(connection, SHORT))
    await eventually(lambda: psutil.Process().children())
    await connection.close()
    heard = await asking
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.FAILED
    assert psutil.Process().children() == []
    again = await ask(connection, SHORT)
    assert again.error is not None
    assert "shut down" in again.error.message


async def test_a_prompt_longer_than_the_window_is_refused(connect_embedded: Connect) -> None:
    connection = connect_embedded(context=256)
    heard = await ask(connection, question("word " * 2000))
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.CONTEXT_OVERFLOW
    assert "256" in heard.error.message


async def test_an_answer_fits_the_schema_that_was_asked_for(connect_embedded: Connect) -> None:
    properties = {"city": {"type": "string"}, "inhabitants": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    asked = replace(question("Tell me of Paris."), options=Options(max_tokens=100, seed=1, temperature=0.0))
    connection = connect_embedded()
    free = await ask(connection, asked)
    assert not free.text.startswith("{")
    options = replace(asked.options, response_schema=json.dumps(schema))
    heard = await ask(connection, replace(asked, options=options))
    answer = json.loads(heard.text)
    assert {name: type(value) for name, value in answer.items()} == {"city": str, "inhabitants": int}
    nonsense = replace(asked.options, response_schema='{"type":"nonsense"}')
    refused = await ask(connection, replace(asked, options=nonsense))
    assert refused.error is not None
    assert refused.error.kind is ModelErrorKind.REFUSED
    assert "nonsense" in refused.error.message


async def test_tools_are_refused_where_the_model_would_never_hear_of_them(connect_embedded: Connect) -> None:
    """llama.cpp itself takes them, drops them, and lets the model answer all the same."""
    connection = connect_embedded()
    asked = replace(SHORT, tools=(Tool("weather", "Tells the weather."),))
    heard = await ask(connection, asked)
    assert (heard.contents, heard.error and heard.error.kind) == ([], ModelErrorKind.REFUSED)
    assert heard.error is not None
    assert "knows no tools" in heard.error.message
    assert (await ask(connection, replace(asked, tool_choice=ToolChoice.NONE))).error is None


async def test_it_tells_what_it_takes_and_counts_by_its_own_tokeniser(connect_embedded: Connect) -> None:
    connection = connect_embedded(context=1 << 20)
    asked = [
        message(messages_pb2.ROLE_USER, "Say hello."),
        message(messages_pb2.ROLE_USER, "Tell me of the sea. " * 100),
    ]
    assert await connection.count_tokens(asked, allow_all) is None, "it is not loaded for that"
    await connection.probe()
    assert connection.context_window == 8192, "what it was trained for"
    # More tokens than the engine takes in one step: its buffers have their full size.
    heard = await ask(connection, chat(asked[1:], SHORT.options))
    assert (connection.context_window, connection.features) == (8192, ("json_schema",))
    assert process_of(connection).memory_info().rss < connection.memory_bytes, "the estimate is not too low"
    counts = await connection.count_tokens(asked, allow_all)
    assert counts is not None
    assert heard.finished is not None
    assert heard.finished.counts.input_tokens is not None
    # Its template brings a system message of its own where there is none.
    assert 520 < counts[1] <= heard.finished.counts.input_tokens < counts[1] + 50


async def test_images_are_refused_before_it_is_loaded(connect_embedded: Connect) -> None:
    connection = connect_embedded()
    image = messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=b"P"))
    heard = await ask(connection, chat([message(messages_pb2.ROLE_USER, image)]))
    assert heard.error is not None
    assert "can't read images" in heard.error.message
    assert connection.pid is None
