"""The embedded model: real weights, a real llama.cpp, in a process that can die."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from oblix.v1 import messages_pb2 as pb
from support.asking import ask, message, question
from support.ggufs import LLAMA, file_of
from support.waiting import eventually

from oblixd.models.base import (
    ChatRequest,
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
from oblixd.models.embedded import weights
from oblixd.models.embedded.connection import EmbeddedConnection, EmbeddedModels, EmbeddedSettings
from oblixd.models.hooks import checked

LONG = question("Write a long story about a river.", seed=1, temperature=0.0)
SHORT = question("Say hello.", seed=1, temperature=0.0, max_tokens=8)
NAME = "smollm2-135m-instruct"

Connect = Callable[..., EmbeddedConnection]


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the weights' check is noted: once for all tests."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
async def connect(home: Path, state_dir: Path) -> AsyncIterator[Connect]:
    """Makes connections whose processes end with the test."""
    runtime_dir = home / "run"
    runtime_dir.mkdir(0o700)
    made: dict[EmbeddedConnection, EmbeddedModels] = {}

    def connect(
        name: str = NAME, beside: EmbeddedConnection | None = None, **settings: object
    ) -> EmbeddedConnection:
        base = EmbeddedSettings(runtime_dir, state_dir, context=2048, threads=1)
        models = made[beside] if beside else EmbeddedModels(replace(base, **settings))
        connection = models.connect(checked("embedded", name))
        made[connection] = models
        return connection

    yield connect
    for connection in made:
        await connection.close()


def process_of(connection: EmbeddedConnection) -> psutil.Process:
    assert connection.pid is not None
    return psutil.Process(connection.pid)


async def test_it_is_loaded_once_on_first_use(connect: Connect, home: Path) -> None:
    connection = connect(slots=2)
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
    assert heard[0].finished.input_tokens is not None
    assert heard[0].finished.input_tokens > 5
    assert connection.status().state is State.READY
    workers = [child for child in psutil.Process().children() if "worker" in " ".join(child.cmdline())]
    assert [worker.pid for worker in workers] == [connection.pid]


async def test_its_process_is_for_its_user_alone_and_knows_no_key(
    connect: Connect, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("SOMETHING_ELSE", "canary")
    connection = connect()
    await ask(connection, SHORT)
    [socket] = (home / "run").iterdir()
    assert stat.S_ISSOCK(socket.stat().st_mode)
    assert stat.S_IMODE(socket.stat().st_mode) & 0o077 == 0
    process = process_of(connection)
    assert process.net_connections("inet") == []
    assert "canary" not in str(process.environ()) + str(process.cmdline())
    assert process.cwd() == "/"


async def test_killed_in_the_middle_it_is_back_with_the_next_prompt(connect: Connect) -> None:
    connection = connect()
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


async def test_it_is_unloaded_when_nobody_uses_it(connect: Connect, home: Path) -> None:
    connection = connect(idle_unload_s=0.2)
    assert (await ask(connection, SHORT)).error is None
    assert (await ask(connection, question("Tell me more", max_tokens=60))).error is None, "it is in use"
    process = process_of(connection)
    await eventually(lambda: not process.is_running())
    await eventually(lambda: not list((home / "run").iterdir()))
    assert connection.status().state is State.IDLE
    assert (await ask(connection, SHORT)).error is None


async def test_cancelling_frees_it(connect: Connect) -> None:
    """With one slot, the next prompt would have to wait for the end of a long answer."""
    connection = connect()
    # Neighbours of one role, as an interrupted answer leaves them, are no trouble to it.
    roles = [pb.ROLE_SYSTEM, pb.ROLE_USER, pb.ROLE_USER]
    prompt = ChatRequest([message(role, "Say hello.") for role in roles], SHORT.options)
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


async def test_whoever_stops_waiting_does_not_stop_the_loading(connect: Connect) -> None:
    connection = connect()
    first = asyncio.create_task(ask(connection, SHORT))
    second = asyncio.create_task(ask(connection, SHORT))
    await eventually(lambda: connection.status().state is State.LOADING)
    first.cancel()
    assert (await second).error is None


async def test_closing_while_it_loads_leaves_nothing(connect: Connect) -> None:
    connection = connect()
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


async def test_what_does_not_fit_is_refused(connect: Connect) -> None:
    connection = connect(context=256)
    heard = await ask(connection, question("word " * 2000))
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.CONTEXT_OVERFLOW
    assert "256" in heard.error.message


async def test_an_answer_fits_the_schema_that_was_asked_for(connect: Connect) -> None:
    properties = {"city": {"type": "string"}, "inhabitants": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    asked = replace(question("Tell me of Paris."), options=Options(max_tokens=100, seed=1, temperature=0.0))
    connection = connect()
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


async def test_tools_are_refused_where_the_model_would_never_hear_of_them(connect: Connect) -> None:
    """llama.cpp itself takes them, drops them, and lets the model answer all the same."""
    connection = connect()
    asked = replace(SHORT, tools=(Tool("weather", "Tells the weather."),))
    heard = await ask(connection, asked)
    assert (heard.contents, heard.error and heard.error.kind) == ([], ModelErrorKind.REFUSED)
    assert heard.error is not None
    assert "knows no tools" in heard.error.message
    assert (await ask(connection, replace(asked, tool_choice=ToolChoice.NONE))).error is None


async def test_a_file_that_is_no_model_is_left_alone_after_some_tries(
    connect: Connect, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(file_of(LLAMA))
    connection = connect("broken", files={"broken": broken})
    for _ in range(3):
        heard = await ask(connection, SHORT)
        assert heard.error is not None
        assert "could not be loaded" in heard.error.message
    resting = await ask(connection, SHORT)
    assert resting.error is not None
    assert "left alone" in resting.error.message
    assert resting.error.retry_after_s is not None
    assert connection.status().state is State.UNAVAILABLE


async def test_another_name_is_not_known(connect: Connect) -> None:
    connection = connect("llama2")
    assert connection.status().state is State.UNAVAILABLE
    heard = await ask(connection, SHORT)
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.NOT_PULLED
    assert f"embedded:{NAME}" in heard.error.message


async def test_weights_that_are_not_there(connect: Connect, tmp_path: Path) -> None:
    connection = connect("gone", files={"gone": tmp_path / "gone.gguf"})
    assert connection.status().state is State.UNAVAILABLE
    assert "gone.gguf" in connection.status().reason


async def test_a_broken_file_says_so_and_is_forgiven_once_it_is_whole(
    connect: Connect, tmp_path: Path
) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(file_of(LLAMA)[:-200])
    connection = connect("mine", files={"mine": file, "other": None})
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


async def test_models_make_room_for_each_other(connect: Connect) -> None:
    """Each takes about 0.7 GiB here, and there is room for one."""
    packaged = weights.find(None).path
    one = connect("one", files={"one": packaged, "two": packaged}, max_memory_bytes=1 << 30)
    two = connect("two", beside=one)
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


async def test_what_needs_too_much_is_not_even_started(connect: Connect) -> None:
    connection = connect(max_memory_bytes=1 << 28)
    heard = await ask(connection, SHORT)
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.NO_MEMORY
    assert "embedded models may take 0.2 GiB" in heard.error.message
    assert psutil.Process().children() == []


async def test_it_tells_what_it_takes_and_counts_by_its_own_tokeniser(connect: Connect) -> None:
    connection = connect(context=1 << 20)
    asked = [message(pb.ROLE_USER, "Say hello."), message(pb.ROLE_USER, "word " * 1500)]
    assert await connection.count_tokens(asked) is None, "it is not loaded for that"
    await connection.probe()
    assert connection.context_window == 8192, "what it was trained for"
    heard = await ask(connection, ChatRequest(asked[1:], SHORT.options))
    assert (connection.context_window, connection.features) == (8192, ("json_schema",))
    assert process_of(connection).memory_info().rss < connection.memory_bytes, "the estimate is not too low"
    counts = await connection.count_tokens(asked)
    assert counts is not None
    assert heard.finished is not None
    assert heard.finished.input_tokens is not None
    # Its template brings a system message of its own where there is none.
    assert 1500 < counts[1] <= heard.finished.input_tokens < counts[1] + 50


async def test_pictures_are_refused_before_it_is_loaded(connect: Connect) -> None:
    connection = connect()
    picture = pb.Part(image=pb.ImagePart(media_type="image/png", data=b"P"))
    heard = await ask(connection, ChatRequest([message(pb.ROLE_USER, picture)]))
    assert heard.error is not None
    assert "can't see pictures" in heard.error.message
    assert connection.pid is None
