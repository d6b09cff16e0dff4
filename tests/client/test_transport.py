"""One client in many places: threads, event loops, forks, and daemons that come and go."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import oblix
import psutil
import pytest
from oblix import DeadlineExceededError, Delta, OblixClient, UnavailableError
from oblix._streams import MAX_WAITING, Reader
from oblix.testing import Answer, OllamaServer, Stall
from oblix.v1 import daemon_pb2
from support import processes
from support.waiting import eventually


def list_of(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def daemon_of(home: Path) -> psutil.Process:
    (daemon,) = [one for one in processes.of(home) if "oblixd" in one.cmdline()]
    return daemon


def kill(home: Path) -> None:
    """`kill -9`, with everything the daemon had started."""
    for process in processes.of(home):
        process.kill()
        process.wait(processes.PATIENCE_S)


def end(home: Path) -> None:
    daemon = daemon_of(home)
    daemon.terminate()
    daemon.wait(processes.PATIENCE_S)


def said(client: OblixClient, session_id: str) -> list[tuple[str, str]]:
    session = client.load_session(session_id)
    assert session is not None
    return [(message["content"], message.get("status", "complete")) for message in session["messages"]]


def in_child(work: Callable[[], None]) -> int:
    """Run it in a fork of this process; the exit code is 0 where it returned."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may run on into the parent's code
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def test_several_loops_one_after_another(hooked: OblixClient) -> None:
    def in_a_loop_of_its_own(n: int) -> str:
        return asyncio.run(hooked.execute(str(n), stream=False))["response"]

    answers = [await asyncio.to_thread(in_a_loop_of_its_own, n) for n in range(3)]
    assert answers == ["You said: 0", "You said: 1", "You said: 2"]


async def test_several_loops_and_threads_at_once(hooked: OblixClient) -> None:
    session_id = await hooked.create_session()
    together = threading.Barrier(8)

    def work(n: int) -> str:
        together.wait(10)
        hooked.session_manager.save_message(session_id, str(n))
        return asyncio.run(hooked.execute(str(n), stream=False))["response"]

    with ThreadPoolExecutor(8) as pool:
        answers = await asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(pool, work, n) for n in range(8))
        )
    assert answers == [f"You said: {n}" for n in range(8)]
    (session,) = [one for one in hooked.list_sessions(limit=1000) if one["id"] == session_id]
    assert session["message_count"] == 8


async def test_sync_calls_work_while_answers_stream_in_the_same_loop(
    hooked: OblixClient, ollama: OllamaServer
) -> None:
    ollama.script(Answer("one two", fault=Stall(after=1)))
    session_id = await hooked.create_session()
    events = hooked.stream("Hello", session_id=session_id)
    async for event in events:
        if isinstance(event, Delta):
            break
    assert hooked.use_session(session_id) is True
    assert hooked.session_manager.save_message(session_id, "In between") is True
    await events.aclose()


async def test_many_prompts_at_once(hooked: OblixClient) -> None:
    prompts = [str(n) for n in range(50)]
    responses = await asyncio.gather(*(hooked.execute(prompt, stream=False) for prompt in prompts))
    assert [response["response"] for response in responses] == [f"You said: {prompt}" for prompt in prompts]


async def test_no_thread_outlives_its_stream(hooked: OblixClient, ollama: OllamaServer) -> None:
    for _ in range(5):
        ollama.script(Answer("one two", fault=Stall(after=1)))
        events = hooked.stream("Hello")
        async for event in events:
            if isinstance(event, Delta):
                break
        await events.aclose()
        await hooked.execute("Hello", stream=False)
    readers = [thread for thread in threading.enumerate() if thread.name == "oblix-stream"]
    for reader in readers:
        await asyncio.to_thread(reader.join, 10)
    assert not any(reader.is_alive() for reader in readers)


async def test_a_loop_that_ends_in_the_middle_of_a_stream_ends_its_thread(
    hooked: OblixClient, ollama: OllamaServer
) -> None:
    ollama.script(Answer("one two", fault=Stall(after=1)))

    async def abandon() -> None:
        async for event in hooked.stream("Hello"):
            if isinstance(event, Delta):
                return

    await asyncio.to_thread(asyncio.run, abandon())
    assert await asyncio.to_thread(ollama.requests[-1].abandoned.wait, 10)


def test_a_fork_has_a_connection_of_its_own(client: OblixClient, ollama: OllamaServer) -> None:
    async def hook() -> str:
        await client.hook_model("ollama", "llama2", endpoint=ollama.url)
        return await client.create_session()

    session_id = asyncio.run(hook())

    def work() -> None:
        assert client.load_session(session_id) is not None
        response = asyncio.run(client.execute("From a child", session_id=session_id, stream=False))
        assert response["response"] == "You said: From a child"
        asyncio.run(client.shutdown())

    assert in_child(work) == 0
    assert len(said(client, session_id)) == 2
    assert (
        asyncio.run(client.execute("From the parent", stream=False))["response"]
        == "You said: From the parent"
    )


async def test_a_fork_in_the_middle_of_a_stream_harms_neither(
    hooked: OblixClient, ollama: OllamaServer
) -> None:
    ollama.script(Answer("one two three", tokens_per_second=50))
    received = ""
    async for event in hooked.stream("Hello"):
        if isinstance(event, Delta):
            if not received:
                assert in_child(lambda: hooked.list_models() and hooked.list_sessions() and None) == 0
            received += event.text
    assert received == "one two three"


async def test_a_daemon_that_was_restarted_in_between_goes_unnoticed(
    launching: OblixClient, home: Path
) -> None:
    session_id = await launching.create_and_use_session()
    await launching.execute("Before", stream=False)
    end(home)
    assert (await launching.execute("After", stream=False))["response"] == "You said: After"
    kill(home)
    assert launching.session_manager.save_message(session_id, "Sync") is True
    kill(home)
    assert await launching.create_session()
    kill(home)
    assert (await launching.execute("At last", stream=False))["response"] == "You said: At last"
    assert [content for content, _ in said(launching, session_id)] == [
        "Before",
        "You said: Before",
        "After",
        "You said: After",
        "Sync",
        "At last",
        "You said: At last",
    ]


async def test_a_daemon_killed_in_the_middle_of_an_answer(
    launching: OblixClient, ollama: OllamaServer, home: Path
) -> None:
    ollama.script(Answer("one two three", fault=Stall(after=2)))
    session_id = await launching.create_and_use_session()

    async def ask() -> None:
        async for event in launching.stream("Hello", request_id="the-first"):
            if isinstance(event, Delta):
                await eventually(lambda: len(said(launching, session_id)) == 2)
                kill(home)

    with pytest.raises(UnavailableError) as caught:
        await ask()
    assert caught.value.reason == "EXECUTION_INTERRUPTED"
    assert caught.value.metadata["session_id"] == session_id
    kept = int(caught.value.metadata["kept_bytes"])
    assert (await launching.execute("Go on", stream=False))["response"] == "You said: Go on"
    shown = said(launching, session_id)
    assert shown[0] == ("Hello", "complete")
    assert shown[1] == ("one two"[:kept], "interrupted")
    assert shown[2:] == [("Go on", "complete"), ("You said: Go on", "complete")]


async def test_a_prompt_whose_daemon_dies_before_it_answers_is_sent_again(
    launching: OblixClient, ollama: OllamaServer, home: Path
) -> None:
    """Without a session the daemon that comes next knows nothing of it, and runs it."""
    await launching.create_session()
    daemon = daemon_of(home)
    daemon.send_signal(signal.SIGSTOP)
    task = asyncio.create_task(launching.execute("Hello", stream=False))
    await asyncio.sleep(0)
    kill(home)
    assert (await task)["response"] == "You said: Hello"
    assert len(ollama.requests) == 1


async def test_a_daemon_that_hangs_is_named(client: OblixClient, shared_home: Path) -> None:
    transport, request = client._transport, daemon_pb2.GetInfoRequest()
    client.list_sessions()
    daemon = daemon_of(shared_home)
    daemon.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(DeadlineExceededError, match=rf"\(process {daemon.pid}\) does not answer"):
            transport.call(lambda link: link.daemon.GetInfo, request, timeout_s=0.2)
        with pytest.raises(DeadlineExceededError, match=f"kill -9 {daemon.pid}"):
            await transport.acall(lambda link: link.daemon.GetInfo, request, timeout_s=0.2)
    finally:
        daemon.send_signal(signal.SIGCONT)
    assert transport.call(lambda link: link.daemon.GetInfo, request).pid == daemon.pid


async def test_prompts_wait_for_a_daemon_that_drains(
    launching: OblixClient, ollama: OllamaServer, home: Path
) -> None:
    ollama.script(Answer("one two three", tokens_per_second=10))
    slow = asyncio.create_task(launching.execute("Slow", stream=False))
    await asyncio.to_thread(ollama.wait_for_requests, 1)
    before = daemon_of(home)
    before.terminate()
    other = await launching.execute("Other", stream=False)
    assert other["response"] == "You said: Other"
    assert (await slow)["response"] == "one two three"
    assert daemon_of(home) != before


async def test_a_loop_that_is_slow_is_not_buried() -> None:
    class Endless:
        """A stream that never ends."""

        def __init__(self) -> None:
            self.given = 0
            self.is_cancelled = False

        def __next__(self) -> int:
            if self.is_cancelled:
                raise StopIteration
            self.given += 1
            return self.given

        def cancel(self) -> bool:
            self.is_cancelled = True
            return True

    stream = Endless()
    reader = Reader(stream)
    await eventually(lambda: stream.given == MAX_WAITING)
    assert [await anext(reader) for _ in range(3)] == [1, 2, 3]
    await eventually(lambda: stream.given == MAX_WAITING + 3)
    await reader.aclose()


async def test_shutdown_without_a_daemon_starts_none(launching: OblixClient, home: Path) -> None:
    end(home)
    await launching.shutdown()
    assert not processes.of(home)


async def test_a_client_that_never_called_starts_no_daemon(home: Path) -> None:
    await oblix.OblixClient().shutdown()
    assert not list_of(home)


@pytest.mark.parametrize(
    ("host", "port"), [("localhost", 4321), ("127.0.0.1", None), (None, 4321), ("::1", 4321)]
)
def test_the_documented_address_is_this_users_daemon(
    client: OblixClient, host: str | None, port: int | None
) -> None:
    assert (
        OblixClient("a key", host=host, port=port, config_path="config.toml").list_sessions(limit=1)
        is not None
    )


def test_another_address_is_dialled_and_nothing_is_started(home: Path) -> None:
    client = OblixClient(host="127.0.0.1", port=1)
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1\. Daemons elsewhere need TCP") as caught:
        client.list_sessions()
    assert caught.value.reason == "DAEMON_UNREACHABLE"
    assert not any(home.iterdir())


@pytest.mark.parametrize(
    "arguments", [{"host": ""}, {"host": 1}, {"port": 0}, {"port": 65536}, {"port": "4321"}, {"port": True}]
)
def test_an_address_that_is_none_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(oblix.InvalidArgumentError):
        OblixClient(**arguments)
