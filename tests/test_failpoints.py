"""Failpoints: off by default, each reached by ordinary use, and every action does what it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from oblix.testing import OllamaServer
from oblix.v1 import sessions_pb2
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.grpc_calls import Wire
from support.repository import files

from oblixd import failpoints
from oblixd.failpoints import POINTS, Failpoints

QUIET = {"OBLIX_EMBEDDED_ENABLED": "false"}


def test_every_point_is_in_the_code_once_or_more_and_no_other() -> None:
    sources = [path.read_text() for path in files.sources("oblixd") if path.name != "failpoints.py"]
    reached = {name for text in sources for name in re.findall(r'\breach\("([a-z.]+)"\)', text)}
    assert reached == set(POINTS)


def test_it_is_off_unless_the_environment_asks() -> None:
    assert failpoints.reach is failpoints._nothing


@pytest.mark.parametrize("text", ["nowhere=kill@1", "commit.before=explode@1", "commit.before=kill", "x"])
def test_a_malformed_plan_is_refused_with_the_known_points(text: str) -> None:
    with pytest.raises(ValueError, match=r"commit.before.*kill"):
        Failpoints(text)


def test_a_failure_comes_at_the_pass_that_was_asked_for() -> None:
    plan = Failpoints("commit.before=fail@2")
    plan.reach("commit.before")
    plan.reach("commit.after")
    with pytest.raises(OSError, match="failpoint"):
        plan.reach("commit.before")
    plan.reach("commit.before")


def test_a_process_is_stopped_where_it_was_asked_for() -> None:
    code = "from oblixd.failpoints import reach; reach('recovery'); print('on', flush=True)"
    environ = {**os.environ, failpoints.VARIABLE: "recovery=stop@1"}
    with subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE) as child:
        _, status = os.waitpid(child.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        child.send_signal(signal.SIGCONT)
        assert child.communicate()[0] == b"on\n"


@pytest.mark.parametrize("point", ["commit.after", "checkpoint.after", "finish.before", "reply.before"])
def test_a_daemon_dies_where_it_was_asked_to_and_has_what_it_acknowledged(point: str, home: Path) -> None:
    with OllamaServer(["llama2"]) as server:
        doomed = RunningDaemon(home, {**QUIET, failpoints.VARIABLE: f"{point}=kill@5"})
        session = ""
        try:
            doomed.wait_until_serving()
            wire = Wire(doomed.channel)
            handle = wire.hook(server.url)
            for _ in range(20):
                session = wire.session()
                list(wire.execute("Hello " * 1000, session_id=session, candidates=[handle]))
        except grpc.RpcError as lost:
            assert lost.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - nothing else may be told
        assert doomed.process.wait(60) == -signal.SIGKILL
        doomed.channel.close()
        with run_daemon(home, **QUIET) as daemon:
            listed = daemon.channel.unary_unary(
                "/oblix.v1.SessionService/ListSessions",
                sessions_pb2.ListSessionsRequest.SerializeToString,
                sessions_pb2.ListSessionsResponse.FromString,
            )(sessions_pb2.ListSessionsRequest(page_size=1000), timeout=60)
            assert session in {one.id for one in listed.sessions}
