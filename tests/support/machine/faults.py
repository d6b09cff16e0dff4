"""What is done to a daemon, its clients, its disk and its machine while the traffic goes on."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from support.drivers.daemon import RunningDaemon
from support.faults.machine_faults import Controls
from support.faults.netlab import Lab
from support.faults.small_disk import fill
from support.machine.history import Acknowledged

from oblixd.failpoints import POINTS, VARIABLE

TESTS = Path(__file__).parents[2]
CLIENTS = 4
STUCK_S = float(os.environ.get("MACHINE_STUCK_S", "120"))
"""How long nothing may be acknowledged while nothing is broken. Then something hangs."""

ONLY = [name for name in os.environ.get("MACHINE_ONLY", "").split(",") if name]
"""The names of the faults to do; empty: all."""


class Scene:
    """A daemon that is started again whenever it has died, and the clients that call it."""

    def __init__(
        self, home: Path, url: str, seed: int, disk: Path | None = None, lab: Lab | None = None
    ) -> None:
        """Start a daemon. `disk`: where its store is, to be filled; `lab`: where it runs, to be cut off."""
        self.home, self.disk, self.lab, self.dice = home, disk, lab, random.Random(seed)
        self.controls = Controls(home)
        self.tried: Counter[str] = Counter()
        """How often each fault was done."""
        self._acknowledged = Acknowledged(home)
        self.kills = 0
        """How often the daemon died in the middle of the traffic."""
        self.starts_s: list[float] = []
        """How long each start took until the daemon served."""
        self._url = url
        self._prefix = ["ip", "netns", "exec", lab.near] if lab else []
        self._embedded = {"OBLIX_EMBEDDED_ENABLED": "true" if lab else "false"}
        self._environ = {**self._embedded, **self.controls.environ}
        self._clients: dict[int, subprocess.Popen[bytes]] = {}
        self.daemon = self._start({})

    def _start(self, environ: dict[str, str]) -> RunningDaemon:
        began_s = time.monotonic()
        daemon = RunningDaemon(self.home, {**self._environ, **environ}, self._prefix)
        with suppress(AssertionError):  # a failpoint or a full disk may end it before it serves
            daemon.wait_until_serving()
            self.starts_s.append(time.monotonic() - began_s)
        return daemon

    def restart(self, environ: dict[str, str] | None = None) -> None:
        """Start a daemon in place of one that is killed now, if it still lives."""
        self.kills += 1
        self.daemon.kill()
        self.daemon.channel.close()
        self.daemon = self._start(environ or {})

    def keep_running(self) -> None:
        """Start again whoever has died."""
        if self.daemon.process.poll() is not None:
            self.restart()
        for number in range(CLIENTS):
            process = self._clients.get(number)
            assert process is None or not process.poll(), "a client failed of itself"
            if process is None or process.poll() is not None:
                name = f"{number}-{self.dice.randrange(2**32):x}"
                words = [str(self.home), name, str(self.dice.randrange(2**32)), self._url]
                command = [sys.executable, "-m", "support.machine.traffic", *words]
                environ = {**os.environ, **self._embedded}
                self._clients[number] = subprocess.Popen(command, cwd=TESTS, env=environ)

    def go_on(self, calls: int) -> None:
        """Wait until so many more calls were acknowledged. AssertionError where nothing goes on any more."""
        target = self._acknowledged.count() + calls
        known, since_s = -1, time.monotonic()
        while (now := self._acknowledged.count()) < target:
            self.keep_running()
            if now != known:
                known, since_s = now, time.monotonic()
            if time.monotonic() - since_s > STUCK_S:
                raise AssertionError(f"no call was acknowledged any more: {self._last_words()}")
            time.sleep(0.01)  # the clients write into a file, and nothing announces that

    def _last_words(self) -> str:
        lines = [path.read_bytes().splitlines()[-2:] for path in self.home.glob("history-*")]
        return f"after {dict(self.tried)}; {lines[-CLIENTS:]}; {self.daemon.errors.read_text()[-2000:]}"

    def kill_client(self) -> None:
        """`kill -9` for one of the clients."""
        if self._clients:
            process = self._clients.pop(self.dice.choice(list(self._clients)))
            process.kill()
            process.wait()

    def end_clients(self) -> None:
        """Let each client finish its call."""
        (self.home / "stop").touch()
        for process in self._clients.values():
            assert process.wait(STUCK_S) == 0, "a client failed of itself"
        self._clients.clear()

    def close(self) -> None:
        """End everything, however it ended."""
        for process in self._clients.values():
            process.kill()
            process.wait()
        self.daemon.end()


def kill_daemon(scene: Scene) -> None:
    scene.restart()


def kill_client(scene: Scene) -> None:
    scene.kill_client()


def failpoint(scene: Scene) -> None:
    """It dies by itself at some point in the code; so, too, while it recovers."""
    point = scene.dice.choice(list(POINTS))
    scene.restart({VARIABLE: f"{point}=kill@{scene.dice.randint(1, 40)}"})


def failing_write(scene: Scene) -> None:
    """Writes of the store fail for some calls."""
    error = scene.dice.choice([errno.EIO, errno.EROFS, errno.ENOSPC])
    _while(scene, {"write_error": error})


def failing_sync(scene: Scene) -> None:
    """The store's file can't be synced for some calls."""
    _while(scene, {"sync_error": errno.EIO})


def failing_meta(scene: Scene) -> None:
    """A commit fails at its last write. liblmdb refuses everything from then on, so the daemon has to end."""
    scene.controls.set(meta_error=errno.EIO)
    scene.daemon.process.wait(STUCK_S)
    scene.controls.set(meta_error=0)


def _while(scene: Scene, values: dict[str, int]) -> None:
    before = scene.controls.failed
    scene.controls.set(**values)
    until = time.monotonic() + STUCK_S
    while scene.controls.failed < before + 3 and time.monotonic() < until:
        scene.keep_running()
        time.sleep(0.01)  # the library counts in a mapped file, and nothing announces that
    scene.controls.set(**dict.fromkeys(values, 0))


def clock_jump(scene: Scene) -> None:
    """The wall clock is wrong from now on, by minutes to a year, ahead or behind."""
    offset_s = scene.dice.choice([-86_400 * 365, -3600, -60, 60, 3600, 86_400 * 40])
    scene.controls.set(clock_offset_s=offset_s)


def freeze(scene: Scene) -> None:
    """SIGSTOP for a second."""
    scene.daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(scene.dice.uniform(0.2, 1.0))  # the time without the daemon is what is tried
    scene.daemon.process.send_signal(signal.SIGCONT)


def few_descriptors(scene: Scene) -> None:
    """No descriptor is left for new connections, for some calls."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(scene.daemon.process.pid)
        old = process.rlimit(resource.RLIMIT_NOFILE)
        process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds(), old[1]))
        scene.kill_client()  # the next one needs a connection
        scene.keep_running()
        time.sleep(0.3)  # the time without descriptors is what is tried
        process.rlimit(resource.RLIMIT_NOFILE, old)


def little_memory(scene: Scene) -> None:
    """Not a mebibyte more is given for a moment. A process that ends of it is started again."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(scene.daemon.process.pid)
        old = process.rlimit(resource.RLIMIT_AS)
        process.rlimit(resource.RLIMIT_AS, (process.memory_info().vms + (1 << 20), old[1]))
        time.sleep(0.2)  # the time without memory is what is tried
        process.rlimit(resource.RLIMIT_AS, old)


def full_disk(scene: Scene) -> None:
    """No byte is left on the disk for some calls, or for a restart."""
    assert scene.disk is not None
    ballast = fill(scene.disk)
    try:
        if scene.dice.random() < 0.3:
            scene.restart()
        time.sleep(0.3)  # the time without room is what is tried
    finally:
        ballast.unlink()


def cut_network(scene: Scene) -> None:
    """The cable between the daemon and the model's server is pulled for a moment, or for seconds."""
    assert scene.lab is not None
    scene.lab.pull()
    time.sleep(scene.dice.choice([0.1, 0.5, 3.0]))  # the time without a network is what is tried
    scene.lab.plug()


def kill_worker(scene: Scene) -> None:
    """`kill -9` for the process that computes the embedded model, where one runs."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(scene.daemon.process.pid).children():
            child.kill()


ALWAYS: tuple[Callable[[Scene], None], ...] = (
    *(kill_daemon, kill_client, failpoint, failpoint, failing_write, failing_sync, failing_meta),
    *(clock_jump, freeze, few_descriptors, little_memory),
)


HARMLESS = (kill_client, kill_client, clock_jump, freeze, few_descriptors, failing_sync)
"""A daemon lives through these."""


def do_harmless(scene: Scene) -> None:
    """Do one fault that no daemon dies of, after a few calls went well."""
    scene.go_on(scene.dice.randint(1, 10))
    fault = scene.dice.choice(HARMLESS)
    scene.tried[fault.__name__] += 1
    fault(scene)


def do_one(scene: Scene) -> None:
    """Do one fault that the dice choose, after some calls went well."""
    scene.go_on(scene.dice.randint(1, 40))
    choice = [*ALWAYS]
    if scene.disk is not None:
        choice += [full_disk, full_disk]
    if scene.lab is not None:
        choice += [cut_network, cut_network, kill_worker, kill_worker]
    fault = scene.dice.choice([one for one in choice if not ONLY or one.__name__ in ONLY])
    scene.tried[fault.__name__] += 1
    fault(scene)


def calm(scene: Scene) -> None:
    """Nothing is broken any more; the clients end, the daemon is started once more."""
    scene.controls.set(write_error=0, sync_error=0, meta_error=0, clock_offset_s=0)
    scene.end_clients()
    scene.restart()
    scene.daemon.wait_until_serving()


def environment_of(scene: Scene) -> dict[str, str]:
    """The environment of an offline command for this home."""
    return {**os.environ, "OBLIX_HOME": str(scene.home)}
