"""A daemon, a local model and a cloud one on the hosts of a `Lab`, and prompts that tell where they go."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import grpc
from oblix.v1 import (
    executions_pb2,
    messages_pb2,
    models_pb2,
    models_pb2_grpc,
    monitor_pb2,
    monitor_pb2_grpc,
    routing_pb2,
)
from oblix.v1.executions_pb2_grpc import ExecutionServiceStub
from support.drivers.daemon import RunningDaemon
from support.faults.netlab import FAR, LATE, Lab
from support.proxies import certificates

LOCAL, CLOUD = "ollama:llama2", "openai:gpt-4o-mini"
TIMEOUT_S = 60.0
TURN_S = 45.0
"""Prompts that did not take the other way by then never will."""
MOST_AT_ONCE = 64
WORDS_A_SECOND = 40
CHECK_S = 2.0
"""The daemon's check interval: shorter than its default, so that the experiment is."""
CLOUD_FIRST = routing_pb2.RoutingPolicy(
    resources=routing_pb2.ResourcePolicy(
        load_threshold=0, cpu_threshold=100, critical_cpu=100, critical_memory=100
    )
)
"""Every machine has some load, so a cloud model goes first, as long as the network lets it."""


@dataclass(frozen=True)
class Asked:
    """What became of a prompt."""

    at_s: float
    took_s: float
    first: str
    """The model that the route put first."""
    answered: str
    """The model that answered."""
    rule: str
    rerouted_s: float | None
    """From the question to the restart on the next model; None: there was none."""


def local(asked: Asked) -> bool:
    """It went to the local model straight away."""
    return asked.first == asked.answered == LOCAL


def cloud(asked: Asked) -> bool:
    """It went to the cloud model straight away."""
    return asked.first == asked.answered == CLOUD


def is_limited(asked: Asked) -> bool:
    """It went where a limited network sends it: to the local model, unless the machine is overloaded, too."""
    return asked.rule == "OVERLOADED_AND_LIMITED" or (asked.rule == "LIMITED_NETWORK" and local(asked))


@dataclass(frozen=True)
class Turned:
    """When prompts took another way after something happened."""

    after_s: float
    """From there to the first prompt that went to the other model straight away."""
    longest_s: float
    """The longest that any prompt took that was asked meanwhile."""


class Site:
    """A context manager around all of it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.home = Path(tempfile.mkdtemp(prefix="oblix-", dir="/tmp"))
        self._stack = ExitStack()
        self._handles: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self.home)
            file = certificates.make(self.home, f"IP:{FAR}", f"IP:{LATE}")
            self._serve_models(file)
            self._start_daemon(stack, file)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def hook(self, host: str, *, tls: bool = True) -> list[str]:
        """Hold the local model and the cloud one at this address, and no other."""
        self._models.UnhookModel(
            models_pb2.UnhookModelRequest(), timeout=TIMEOUT_S
        ) if self._handles else None
        url = f"https://{host}:{self._tls_port}" if tls else f"http://{host}:{self._plain_port}"
        requests = (
            models_pb2.HookModelRequest(
                provider=models_pb2.PROVIDER_OPENAI, name="gpt-4o-mini", endpoint=f"{url}/v1", api_key="key"
            ),
            models_pb2.HookModelRequest(
                provider=models_pb2.PROVIDER_OLLAMA, name="llama2", endpoint=self._local_url
            ),
        )
        self._handles = [self._models.HookModel(one, timeout=TIMEOUT_S).handle for one in requests]
        return self._handles

    def ask(self, words: int = 2, meanwhile: Callable[[], None] | None = None) -> Asked:
        """Ask for an answer of so many words. A broken one restarts on the next model.

        `meanwhile` is called once, when the first words have come.
        """
        began_s = time.monotonic()
        first = rule = answered = ""
        rerouted_s = None
        for event in self.answer(words):
            match event.WhichOneof("event"):
                case "started":
                    first, rule = event.started.decision.model, event.started.decision.rule
                case "delta" if meanwhile is not None:
                    meanwhile()
                    meanwhile = None
                case "rerouted":
                    rerouted_s = time.monotonic() - began_s
                case "completed":
                    answered = event.completed.message.model
        return Asked(began_s, time.monotonic() - began_s, first, answered, rule, rerouted_s)

    def answer(self, words: int) -> grpc.Call:
        """The events of a prompt."""
        question = messages_pb2.Message(
            role=messages_pb2.ROLE_USER, parts=[messages_pb2.Part(text=" ".join(["word"] * words))]
        )
        request = executions_pb2.ExecuteRequest(
            input=[question],
            candidates=self._handles,
            policy=CLOUD_FIRST,
            on_break=executions_pb2.ON_BREAK_RESTART,
        )
        return self._executions.Execute(request, timeout=TIMEOUT_S)

    def turns(self, goes: Callable[[Asked], bool], since_s: float, pause_s: float = 0.1) -> Turned:
        """Ask every `pause_s` until a prompt goes that way."""
        asked: list[Future[Asked]] = []
        with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
            while not (straight := [one for one in _done(asked) if goes(one)]):
                waited_s = time.monotonic() - since_s
                assert waited_s < TURN_S, f"prompts do not go that way; the last one: {_done(asked)[-1:]}"
                asked.append(pool.submit(self.ask))
                time.sleep(pause_s)  # the pace of the prompts is what is measured with
        longest_s = max(one.took_s for one in _done(asked))
        return Turned(min(one.at_s for one in straight) - since_s, longest_s)

    def network(self) -> monitor_pb2.ConnectivitySample:
        """What the daemon knows of it."""
        request = monitor_pb2.GetSnapshotRequest()
        return self._monitor.GetSnapshot(request, timeout=TIMEOUT_S).snapshot.connectivity

    def _serve_models(self, certificate: Path) -> None:
        pace = ("--tokens-per-second", str(WORDS_A_SECOND))
        lab = self.lab
        cloud = lab.start(lab.far, "-m", "oblix.testing", "openai", "--host", "0.0.0.0", *pace)
        self._plain_port = urlsplit(cloud).port
        plain = f"http://127.0.0.1:{self._plain_port}"
        self._tls_port = int(lab.start(lab.far, "-m", "support.proxies.tls_front", plain, str(certificate)))
        self._local_url = lab.start(lab.near, "-m", "oblix.testing", "ollama")

    def _start_daemon(self, stack: ExitStack, certificate: Path) -> None:
        environ = {"OBLIX_NETWORK_CA_FILE": str(certificate), "OBLIX_MONITOR_CHECK_INTERVAL_S": str(CHECK_S)}
        daemon = RunningDaemon(self.home, environ, ["ip", "netns", "exec", self.lab.near])
        stack.callback(daemon.end)
        daemon.wait_until_serving()
        channel = daemon.channel
        self._executions = ExecutionServiceStub(channel)
        self._models = models_pb2_grpc.ModelServiceStub(channel)
        self._monitor = monitor_pb2_grpc.MonitorServiceStub(channel)


def _done(asked: Sequence[Future[Asked]]) -> list[Asked]:
    return [one.result() for one in asked if one.done()]
