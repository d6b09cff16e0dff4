"""One client in many places: threads, event loops and forks."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import oblix
from oblix import Delta, OblixClient
from oblix._transport.streams import MAX_WAITING, Reader
from oblix.testing import Answer, OllamaServer, Stall
from support.drivers import processes
from support.drivers.clients import messages_of
from support.drivers.waiting import eventually


def list_of(directory: Path) -> list[Path]:
    return list(directory.iterdir())


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


async def test_several_loops_one_after_another(hooked_client: OblixClient) -> None:
    def in_a_loop_of_its_own(n: int) -> str:
        return asyncio.run(hooked_client.execute(str(n), stream=False))["response"]

    answers = [await asyncio.to_thread(in_a_loop_of_its_own, n) for n in range(3)]
    assert answers == ["You said: 0", "You said: 1", "You said: 2"]


async def test_several_loops_and_threads_at_once(hooked_client: OblixClient) -> None:
    session_id = await hooked_client.create_session()
    together = threading.Barrier(8)

    def work(n: int) -> str:
        together.wait(60)
        hooked_client.session_manager.save_message(session_id, str(n))
        return asyncio.run(hooked_client.execute(str(n), stream=False))["response"]

    with ThreadPoolExecutor(8) as pool:
        answers = await asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(pool, work, n) for n in range(8))
        )
    assert answers == [f"You said: {n}" for n in range(8)]
    (session,) = [one for one in hooked_client.list_sessions(limit=1000) if one["id"] == session_id]
    assert session["message_count"] == 8


async def test_sync_calls_work_while_answers_stream_in_the_same_loop(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    ollama.script(Answer("one two", fault=Stall(after=1)))
    session_id = await hooked_client.create_session()
    events = hooked_client.stream("Hello", session_id=session_id)
    async for event in events:
        if isinstance(event, Delta):
            break
    assert hooked_client.use_session(session_id) is True
    assert hooked_client.session_manager.save_message(session_id, "In between") is True
    await events.aclose()


async def test_many_prompts_at_once(hooked_client: OblixClient) -> None:
    prompts = [str(n) for n in range(50)]
    responses = await asyncio.gather(*(hooked_client.execute(prompt, stream=False) for prompt in prompts))
    assert [response["response"] for response in responses] == [f"You said: {prompt}" for prompt in prompts]


async def test_no_thread_outlives_its_stream(hooked_client: OblixClient, ollama: OllamaServer) -> None:
    for _ in range(5):
        ollama.script(Answer("one two", fault=Stall(after=1)))
        events = hooked_client.stream("Hello")
        async for event in events:
            if isinstance(event, Delta):
                break
        await events.aclose()
        await hooked_client.execute("Hello", stream=False)
    readers = [thread for thread in threading.enumerate() if thread.name == "oblix-stream"]
    for reader in readers:
        await asyncio.to_thread(reader.join, 10)
    assert not any(reader.is_alive() for reader in readers)


async def test_a_loop_that_ends_in_the_middle_of_a_stream_ends_its_thread(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    ollama.script(Answer("one two", fault=Stall(after=1)))

    async def abandon() -> None:
        async for event in hooked_client.stream("Hello"):
            if isinstance(event, Delta):
                return

    await asyncio.to_thread(asyncio.run, abandon())
    assert await asyncio.to_thread(ollama.requests[-1].abandoned.wait, 60)


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
    assert len(messages_of(client, session_id)) == 2
    assert (
        asyncio.run(client.execute("From the parent", stream=False))["response"]
        == "You said: From the parent"
    )


async def test_a_fork_in_the_middle_of_a_stream_harms_neither(
    hooked_client: OblixClient, ollama: OllamaServer
) -> None:
    ollama.script(Answer("one two three", tokens_per_second=50))
    received = ""
    async for event in hooked_client.stream("Hello"):
        if isinstance(event, Delta):
            if not received:
                assert (
                    in_child(lambda: hooked_client.list_models() and hooked_client.list_sessions() and None)
                    == 0
                )
            received += event.text
    assert received == "one two three"


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


class Fed:
    """A stream that gives what a test feeds it."""

    def __init__(self) -> None:
        self.fed: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self.given = 0

    def __next__(self) -> int:
        number = self.fed.get()
        self.given += 1
        if number is None:
            raise StopIteration
        return number

    def cancel(self) -> bool:
        self.fed.put(None)
        return True


async def test_items_that_nobody_waits_for_come_with_the_awaited_one() -> None:
    stream = Fed()
    reader = Reader(stream, lambda number: number >= 100)
    first = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)  # it waits from here on
    for number in (1, 2, 3):
        stream.fed.put(number)
    await eventually(lambda: stream.given == 3)
    assert not first.done()
    stream.fed.put(100)
    assert [await first, *[await anext(reader) for _ in range(3)]] == [1, 2, 3, 100]
    stream.fed.put(4)
    stream.fed.put(None)
    assert [number async for number in reader] == [4]


async def test_many_that_nobody_waits_for_do_not_stop_the_stream() -> None:
    stream = Fed()
    reader = Reader(stream, lambda _: False)
    for number in range(3 * MAX_WAITING):
        stream.fed.put(number)
    stream.fed.put(None)
    assert [number async for number in reader] == list(range(3 * MAX_WAITING))


async def test_shutdown_without_a_daemon_starts_none(launching: OblixClient, home: Path) -> None:
    processes.end_daemon_of(home)
    await launching.shutdown()
    assert not processes.of(home)


async def test_a_client_that_never_called_starts_no_daemon(home: Path) -> None:
    await oblix.OblixClient().shutdown()
    assert not list_of(home)
