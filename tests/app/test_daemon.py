"""The daemon's life: one per user, killed, started again, drained."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from oblix.testing import Answer, OllamaServer, OpenAIServer, Stall
from oblix.v1 import executions_pb2, messages_pb2
from support.drivers.daemon import WAIT_S, RunningDaemon, run_daemon
from support.drivers.grpc_calls import Wire
from support.drivers.waiting import eventually
from support.proxies.tcp_proxy import door

from oblixd.__main__ import EXIT_ALREADY_RUNNING, EXIT_CONFIG, EXIT_FAILED

COMPLETE = messages_pb2.MESSAGE_STATUS_COMPLETE
INTERRUPTED = messages_pb2.MESSAGE_STATUS_INTERRUPTED


def oblixd(home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `oblixd` where it is expected to refuse."""
    return subprocess.run(
        [sys.executable, "-m", "oblixd"],
        env={"OBLIX_HOME": str(home), "PATH": "", **environ},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def test_a_second_start_says_who_runs_and_leaves_the_first_alone(home: Path) -> None:
    with run_daemon(home) as daemon:
        second = oblixd(home)
        assert second.returncode == EXIT_ALREADY_RUNNING
        assert f"already running: pid {daemon.process.pid}" in second.stderr
        assert str(daemon.socket) in second.stderr
        assert Wire(daemon.channel).session()


def test_kill_9_in_the_middle_of_an_answer_keeps_the_question_and_the_part(home: Path) -> None:
    answer = "word " * 2000
    with OllamaServer(["llama2"]) as server:
        server.script(Answer(answer, fault=Stall(after=1500)))
        with run_daemon(home) as daemon:
            wire = Wire(daemon.channel)
            session, handle = wire.session(), wire.hook(server.url)
            stream = wire.execute("Go on", session_id=session, candidates=[handle])
            wait_for_checkpoint(wire, session)
            daemon.kill()
            with pytest.raises(grpc.RpcError):
                list(stream)
        with run_daemon(home) as daemon:
            wire = Wire(daemon.channel)
            question, part = wire.messages(session)
            assert (question.parts[0].text, question.status) == ("Go on", COMPLETE)
            assert part.status == INTERRUPTED
            assert part.parts[0].text
            assert answer.startswith(part.parts[0].text)
            events = list(wire.execute("And now?", session_id=session, candidates=[wire.hook(server.url)]))
            assert events[-1].completed.finish_reason == executions_pb2.FINISH_REASON_STOP
    sent = [message["content"] for message in server.requests[-1].body["messages"]]
    assert sent == ["Go on", part.parts[0].text, "And now?"]


def wait_for_checkpoint(wire: Wire, session: str) -> None:
    """Returns once a part of the answer is on disk."""
    while len(messages := wire.messages(session)) < 2 or not messages[1].parts:
        pass


def test_sigterm_lets_a_running_answer_finish(home: Path) -> None:
    with OllamaServer(["llama2"]) as server, run_daemon(home) as daemon:
        server.script(Answer("one two three", tokens_per_second=10))
        wire = Wire(daemon.channel)
        stream = wire.execute("Count", candidates=[wire.hook(server.url)])
        assert next(stream).HasField("started")
        daemon.process.send_signal(signal.SIGTERM)
        assert list(stream)[-1].completed.message.parts[0].text == "one two three"
        assert daemon.process.wait(WAIT_S) == 0
        assert not daemon.socket.exists()


def test_an_answer_that_outlasts_the_grace_is_kept_as_interrupted(home: Path) -> None:
    with OllamaServer(["llama2"]) as server:
        server.script(Answer("one two three", fault=Stall(after=2)))
        with run_daemon(home, OBLIX_DAEMON_GRACE_S="0.1") as daemon:
            wire = Wire(daemon.channel)
            session = wire.session()
            stream = wire.execute("Count", session_id=session, candidates=[wire.hook(server.url)])
            assert next(stream).HasField("started")
            server.wait_for_requests(1)
            daemon.process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.RpcError) as failed:
                list(stream)
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
            assert daemon.process.wait(WAIT_S) == 0
        with run_daemon(home) as daemon:
            assert Wire(daemon.channel).messages(session)[1].status == INTERRUPTED


def test_shutdown_ends_it_as_sigterm_does(home: Path) -> None:
    with run_daemon(home) as daemon:
        Wire(daemon.channel).shut_down()
        assert daemon.process.wait(WAIT_S) == 0


def test_a_daemon_that_nobody_uses_ends(home: Path) -> None:
    daemon = RunningDaemon(home, {"OBLIX_DAEMON_IDLE_EXIT_S": "0.2"})
    daemon.channel.close()
    assert daemon.process.wait(WAIT_S) == 0


def test_a_daemon_whose_socket_was_removed_ends_and_makes_room(home: Path) -> None:
    with run_daemon(home) as daemon:
        session = Wire(daemon.channel).session()
        daemon.socket.unlink()
        assert daemon.process.wait(WAIT_S) == 0
        with run_daemon(home) as successor:
            assert not Wire(successor.channel).messages(session)


@pytest.mark.parametrize(
    ("environ", "code", "told"),
    [
        ({"OBLIX_DAEMON_GRACE": "1"}, EXIT_CONFIG, "Did you mean OBLIX_DAEMON_GRACE_S?"),
        ({"OBLIX_DAEMON_GRACE_S": "soon"}, EXIT_CONFIG, "'soon' was given"),
        ({"OBLIX_HOME": "relative"}, EXIT_FAILED, "absolute path"),
    ],
)
def test_a_failed_start_prints_one_line(home: Path, environ: dict[str, str], code: int, told: str) -> None:
    refused = oblixd(home, **environ)
    assert refused.returncode == code
    assert told in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_an_unknown_key_in_the_file_is_named(home: Path) -> None:
    (home / "config.toml").write_text("[daemon]\ngrace = 3\n")
    refused = oblixd(home)
    assert refused.returncode == EXIT_CONFIG
    assert "config.toml, line 2: daemon.grace is not a setting" in refused.stderr


async def test_a_daemon_that_nobody_calls_does_without_the_http_library(home: Path) -> None:
    """It comes with the first call, whatever that asks, and opens the way to the configured models."""
    with OpenAIServer() as server:
        async with door(server.url.removesuffix("/v1")) as (watched, url):
            (home / "config.toml").write_text(f'[openai]\nendpoint = "{url}/v1"\nmodels = ["gpt-4o"]\n')
            (home / "openai-api-key").write_text("sk-x")
            daemon = RunningDaemon(home, {"CREDENTIALS_DIRECTORY": str(home)})
            try:
                await asyncio.to_thread(daemon.wait_until_serving)
                assert not _has_loaded(daemon, "aiohttp")
                await asyncio.to_thread(Wire(daemon.channel).session)
                await eventually(lambda: _has_loaded(daemon, "aiohttp") and watched.open == 1)
            finally:
                await asyncio.to_thread(daemon.end)
        assert server.calls == []


def _has_loaded(daemon: RunningDaemon, package: str) -> bool:
    """Return whether the daemon has a compiled module of a package in its memory."""
    return f"/{package}/" in Path(f"/proc/{daemon.process.pid}/maps").read_text()
