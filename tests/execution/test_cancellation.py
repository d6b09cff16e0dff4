"""Whoever goes away frees the model, through a real daemon: in every phase, however it goes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from oblix.testing import Answer, Hang, OllamaServer, Stall
from oblix.v1 import executions_pb2, messages_pb2, models_pb2
from support.drivers.daemon import RunningDaemon, run_daemon
from support.drivers.grpc_calls import TIMEOUT_S, Wire
from support.drivers.waiting import eventually
from support.faults import bad_ports

NOTICED_S = 60.0
"""Far more than the second that is promised: the machine may be busy."""
DEADLINES_S = (1.0, 2.0, *[4.0] * 8)
"""Of who sets a deadline, in turn: on a busy machine not all four are in their phase by the first.

None is as long as a connection may take, which is five seconds.
"""
PHASES = ("queued", "connecting", "waiting", "streaming")
HOLDER = "holder"
"""Has the only place of the model that `queued` waits for."""
ENDED = {
    executions_pb2.EXECUTION_STATE_CANCELLED,
    executions_pb2.EXECUTION_STATE_FAILED,
    executions_pb2.EXECUTION_STATE_COMPLETED,
}
CLIENT = """\
import sys
import grpc
from oblix.v1 import executions_pb2, executions_pb2_grpc
stub = executions_pb2_grpc.ExecutionServiceStub(grpc.insecure_channel(f"unix:{sys.argv[1]}"))
calls = [stub.Execute(executions_pb2.ExecuteRequest.FromString(bytes.fromhex(text))) for text in sys.argv[2:]]
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with run_daemon(tmp_path_factory.mktemp("freeing"), OBLIX_EMBEDDED_ENABLED="false") as daemon:
        yield daemon


class Scene:
    """Four models, each of which keeps an execution in one phase, and a fifth execution that goes on."""

    def __init__(self, daemon: RunningDaemon, stack: ExitStack, name: str) -> None:
        self.wire = Wire(daemon.channel)
        self._name = name
        self._servers = {
            phase: stack.enter_context(OllamaServer(["llama2"])) for phase in PHASES if phase != "connecting"
        }
        self._servers["queued"].default = lambda _: Answer("One two three", fault=Stall(1))
        self._servers["waiting"].default = lambda _: Answer("One two three", fault=Hang())
        self._servers["streaming"].default = lambda _: Answer("One two three", fault=Stall(1))
        self._deaf_url = f"http://127.0.0.1:{stack.enter_context(bad_ports.deaf())}"
        self._holding = self.execute(self.request("queued", HOLDER))
        self._first(self._holding, "delta")
        stack.callback(self._holding.cancel)

    def requests(self, **fields: object) -> list[executions_pb2.ExecuteRequest]:
        """One for each phase."""
        return [self.request(phase, phase, **fields) for phase in PHASES]

    def request(self, phase: str, request_id: str, **fields: object) -> executions_pb2.ExecuteRequest:
        given = messages_pb2.Message(role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text="Hi")])
        return executions_pb2.ExecuteRequest(
            input=[given], candidates=[self._hook(phase)], request_id=self._id(request_id), **fields
        )

    def execute(self, request: executions_pb2.ExecuteRequest, timeout_s: float = TIMEOUT_S) -> grpc.Call:
        return self.wire.executions.Execute(request, timeout=timeout_s)

    async def everybody_is_there(self) -> None:
        """Each execution is in its phase."""
        assert await self.everybody_was_there()

    async def everybody_was_there(self) -> bool:
        """Wait until each execution is in its phase, or one has ended. Returns whether all were there."""
        await eventually(lambda: self._all_in_their_phase() or self._has_one_ended())
        return self._all_in_their_phase()

    async def everybody_is_free(self) -> None:
        """The servers saw them go, nothing waits, and who had the place goes on."""
        for phase in ("waiting", "streaming"):
            [received] = self._servers[phase].requests
            assert received.abandoned.wait(NOTICED_S), phase
        await eventually(lambda: all(self._known_executions()[phase].state in ENDED for phase in PHASES))
        assert self._known_executions()[HOLDER].state == executions_pb2.EXECUTION_STATE_RUNNING
        [held] = self._servers["queued"].requests
        assert not held.abandoned.is_set()

    def _all_in_their_phase(self) -> bool:
        known = self._known_executions()
        return (
            known.keys() >= set(PHASES)
            and all(self._servers[phase].requests for phase in ("waiting", "streaming"))
            and all(known[phase].state not in ENDED for phase in PHASES)
            and known["queued"].place == 1
            and known["streaming"].delta_bytes > 0
            and known["connecting"].state == executions_pb2.EXECUTION_STATE_RUNNING
        )

    def _has_one_ended(self) -> bool:
        known = self._known_executions()
        return any(phase in known and known[phase].state in ENDED for phase in PHASES)

    def _known_executions(self) -> dict[str, executions_pb2.Execution]:
        listed = self.wire.executions.ListExecutions(
            executions_pb2.ListExecutionsRequest(), timeout=TIMEOUT_S
        )
        ours = {self._id(name): name for name in (*PHASES, HOLDER)}
        return {ours[one.request_id]: one for one in listed.executions if one.request_id in ours}

    def _id(self, request_id: str) -> str:
        return f"{self._name} {request_id}"

    def _hook(self, phase: str) -> str:
        url = self._deaf_url if phase == "connecting" else self._servers[phase].url
        options = Struct()
        options.update({"max_running": 1})
        request = models_pb2.HookModelRequest(
            provider=models_pb2.PROVIDER_OLLAMA, name="llama2", endpoint=url, options=options
        )
        return self.wire.models.HookModel(request, timeout=TIMEOUT_S).handle

    @staticmethod
    def _first(events: Iterator[executions_pb2.ExecuteResponse], kind: str) -> None:
        assert any(event.HasField(kind) for event in events)


@pytest.fixture
def scene(daemon: RunningDaemon, request: pytest.FixtureRequest) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(daemon, stack, request.node.name)


async def test_a_client_that_cancels(scene: Scene) -> None:
    calls = [scene.execute(request) for request in scene.requests()]
    await scene.everybody_is_there()
    for call in calls:
        call.cancel()
    await scene.everybody_is_free()


async def test_a_cancel_by_somebody_else(scene: Scene) -> None:
    requests = scene.requests()
    calls = [scene.execute(request) for request in requests]
    await scene.everybody_is_there()
    for request in requests:
        asked = executions_pb2.CancelExecutionRequest(request_id=request.request_id)
        scene.wire.executions.CancelExecution(asked, timeout=TIMEOUT_S)
    await scene.everybody_is_free()
    ends = [list(call)[-1].completed.finish_reason for call in calls]
    assert ends == [executions_pb2.FINISH_REASON_CANCELLED] * len(PHASES)


async def test_a_client_that_is_killed(scene: Scene, daemon: RunningDaemon) -> None:
    requests = [request.SerializeToString().hex() for request in scene.requests()]
    with _client(daemon.socket, requests) as client:
        await scene.everybody_is_there()
        client.kill()
    await scene.everybody_is_free()


def _client(socket_path: Path, requests: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(socket_path), *requests], stdin=subprocess.PIPE
    )


def _status(call: grpc.Call) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as ended:
        list(call)
    return ended.value.code()


async def _until_all_are_there(
    daemon: RunningDaemon, stack: ExitStack, begin: Callable[[Scene, float], list[grpc.Call]]
) -> tuple[Scene, list[grpc.Call]]:
    """Set a deadline that leaves everybody the time to get into its phase."""
    for number, seconds in enumerate(DEADLINES_S):
        scene = Scene(daemon, stack, f"{begin.__name__} {number}")
        calls = begin(scene, seconds)
        if await scene.everybody_was_there():
            return scene, calls
    raise AssertionError("the machine is too slow for each of the deadlines")


async def test_a_call_whose_deadline_passes(daemon: RunningDaemon) -> None:
    def with_deadlines(scene: Scene, seconds: float) -> list[grpc.Call]:
        return [scene.execute(request, timeout_s=seconds) for request in scene.requests()]

    with ExitStack() as stack:
        scene, calls = await _until_all_are_there(daemon, stack, with_deadlines)
        assert [_status(call) for call in calls] == [grpc.StatusCode.DEADLINE_EXCEEDED] * len(PHASES)
        await scene.everybody_is_free()


async def test_an_execution_whose_own_time_is_over(daemon: RunningDaemon) -> None:
    def with_times_of_their_own(scene: Scene, seconds: float) -> list[grpc.Call]:
        timeout = Duration()
        timeout.FromTimedelta(timedelta(seconds=seconds))
        fields = {"timeout": timeout, "on_disconnect": executions_pb2.ON_DISCONNECT_CONTINUE}
        return [scene.execute(request) for request in scene.requests(**fields)]

    with ExitStack() as stack:
        scene, calls = await _until_all_are_there(daemon, stack, with_times_of_their_own)
        assert [_status(call) for call in calls] == [grpc.StatusCode.DEADLINE_EXCEEDED] * len(PHASES)
        await scene.everybody_is_free()
