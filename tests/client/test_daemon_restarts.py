"""A daemon that was restarted, was killed, hangs or drains, as its clients see it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from oblix import DeadlineExceededError, Delta, OblixClient, Queued, UnavailableError
from oblix.testing import Answer, OllamaServer, Stall
from oblix.v1 import daemon_pb2
from support.drivers import processes
from support.drivers.clients import messages_of
from support.drivers.waiting import eventually


async def test_a_daemon_that_was_restarted_in_between_goes_unnoticed(
    launching: OblixClient, home: Path
) -> None:
    session_id = await launching.create_and_use_session()
    await launching.execute("Before", stream=False)
    processes.end_daemon_of(home)
    assert (await launching.execute("After", stream=False))["response"] == "You said: After"
    processes.kill_all_of(home)
    assert launching.session_manager.save_message(session_id, "Sync") is True
    processes.kill_all_of(home)
    assert await launching.create_session()
    processes.kill_all_of(home)
    assert (await launching.execute("At last", stream=False))["response"] == "You said: At last"
    assert [content for content, _ in messages_of(launching, session_id)] == [
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
                await eventually(lambda: len(messages_of(launching, session_id)) == 2)
                processes.kill_all_of(home)

    with pytest.raises(UnavailableError) as caught:
        await ask()
    assert caught.value.reason == "EXECUTION_INTERRUPTED"
    assert caught.value.metadata["session_id"] == session_id
    kept = int(caught.value.metadata["kept_bytes"])
    assert (await launching.execute("Go on", stream=False))["response"] == "You said: Go on"
    shown = messages_of(launching, session_id)
    assert shown[0] == ("Hello", "complete")
    assert shown[1] == ("one two"[:kept], "interrupted")
    assert shown[2:] == [("Go on", "complete"), ("You said: Go on", "complete")]


async def test_a_prompt_whose_daemon_dies_before_it_answers_is_sent_again(
    launching: OblixClient, ollama: OllamaServer, home: Path
) -> None:
    """Without a session the daemon that comes next knows nothing of it, and runs it."""
    await launching.create_session()
    daemon = processes.daemon_of(home)
    daemon.send_signal(signal.SIGSTOP)
    task = asyncio.create_task(launching.execute("Hello", stream=False))
    await asyncio.sleep(0)
    processes.kill_all_of(home)
    assert (await task)["response"] == "You said: Hello"
    assert len(ollama.requests) == 1


async def test_a_daemon_that_hangs_is_named(client: OblixClient, shared_home: Path) -> None:
    transport, request = client._transport, daemon_pb2.GetInfoRequest()
    client.list_sessions()
    daemon = processes.daemon_of(shared_home)
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
    before = processes.daemon_of(home)
    before.terminate()
    other = await launching.execute("Other", stream=False)
    assert other["response"] == "You said: Other"
    assert (await slow)["response"] == "one two three"
    assert processes.daemon_of(home) != before


async def test_a_prompt_that_waits_when_its_daemon_ends_is_answered_by_the_next_one(
    launching: OblixClient, ollama: OllamaServer, home: Path
) -> None:
    """Its events come once, and no model is asked twice."""
    await launching.hook_model("ollama", "llama2", endpoint=ollama.url, max_running=1)
    ollama.script(Answer("one two three", tokens_per_second=5))
    slow = asyncio.create_task(launching.execute("Slow", stream=False, on_disconnect="continue"))
    await asyncio.to_thread(ollama.wait_for_requests, 1)
    before, kinds = processes.daemon_of(home), []
    async for event in launching.stream("Waits", on_disconnect="continue"):
        if isinstance(event, Queued):
            before.terminate()
        kinds.append(type(event).__name__)
    assert [kind for kind in kinds if kind not in ("Queued", "Delta")] == ["Started", "Completed"]
    assert (await slow)["response"] == "one two three"
    assert processes.daemon_of(home) != before
    assert [one.body["messages"][-1]["content"] for one in ollama.requests] == ["Slow", "Waits"]
