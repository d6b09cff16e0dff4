"""A chaos of clients that are killed and started again while they execute, attach, cancel and send again.

Each client is a process of its own and writes down what it is about to do, and
what it saw. `support.data.chaos_records` holds these journals against what the sessions keep
and what the model's server was asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from oblix import Completed, Delta, OblixClient, OblixError
from oblix.testing import Answer, OllamaServer
from support.drivers import processes
from support.drivers.waiting import eventually

TESTS = Path(__file__).parents[2]
CLIENTS = 4
SESSIONS = 6
WORDS_A_SECOND = 400
DAEMON_DIES = 0.2
"""How often, where it may, the daemon is killed with a client."""


def prompt_of(request_id: str) -> str:
    """Every request has a prompt of its own, so that the server's log tells them apart."""
    return f"prompt {request_id}"


def answer_to(question: str) -> Answer:
    """Some thirty words at a pace that leaves time to interfere."""
    words = 10 + len(question) * 7 % 40
    return Answer(" ".join(f"w{number}" for number in range(words)), tokens_per_second=WORDS_A_SECOND)


@dataclass
class Chaos:
    """One chaos over one home."""

    home: Path
    server: OllamaServer
    seed: int
    rounds: int
    kills_daemon: bool = False
    sessions: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    """How often a client was killed, and the daemon."""
    _dice: random.Random = field(init=False)
    _running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self.server.default = answer_to
        os.environ["OBLIX_HOME"] = str(self.home)

    async def rage(self) -> None:
        """Let the clients rage until so many rounds have begun; then all is calm."""
        async with OblixClient() as client:
            self.sessions = [await client.create_session() for _ in range(SESSIONS)]
        begun = 0
        while begun < self.rounds:
            self._keep_running()
            await asyncio.sleep(self._dice.uniform(0.05, 0.6))
            before, begun = begun, sum(1 for entry in self.journal() if entry["is"] == "begun")
            if begun > before:  # on a slow machine a client would be killed before it did anything, for ever
                self._kill_one()
        for process in self._running.values():
            process.send_signal(signal.SIGKILL)
            process.wait()
        client = OblixClient()
        await eventually(
            lambda: not any(one["state"] in ("queued", "running") for one in client.list_executions())
        )
        await client.shutdown()

    def journal(self) -> Iterator[dict[str, Any]]:
        """What all clients wrote down. The last line of one that was killed may be cut off."""
        for path in sorted(self.home.glob("journal-*")):
            for line in path.read_text().splitlines():
                with suppress(json.JSONDecodeError):
                    yield json.loads(line)

    def _keep_running(self) -> None:
        for number in range(CLIENTS):
            process = self._running.get(number)
            if process is None or process.poll() is not None:
                seed = self._dice.randrange(2**32)
                command = [
                    sys.executable,
                    "-m",
                    "support.drivers.chaos",
                    self.server.url,
                    str(number),
                    str(seed),
                ]
                self._running[number] = subprocess.Popen([*command, *self.sessions], cwd=TESTS)

    def _kill_one(self) -> None:
        self._running[self._dice.randrange(CLIENTS)].send_signal(signal.SIGKILL)
        self.kills["client"] += 1
        if self.kills_daemon and self._dice.random() < DAEMON_DIES:
            for process in processes.of(self.home):
                with suppress(psutil.NoSuchProcess):
                    if "oblixd" in process.cmdline():
                        process.kill()
                        self.kills["daemon"] += 1


class Client:
    """One client's life, until it is killed."""

    def __init__(self, url: str, number: str, seed: int, sessions: list[str]) -> None:
        self._url = url
        self._number = number
        self._dice = random.Random(seed)
        self._sessions = sessions
        self._home = Path(os.environ["OBLIX_HOME"])
        self._journal = (self._home / f"journal-{number}").open("a")
        self._oblix = OblixClient()

    async def rage(self) -> None:
        """One thing after another, for ever."""
        await self._oblix.hook_model("ollama", "llama2", endpoint=self._url, max_running=3)
        doings = (self._execute, self._again, self._attach, self._cancel)
        while True:
            await self._dice.choices(doings, (50, 20, 20, 10))[0]()

    def _write(self, **entry: Any) -> None:
        self._journal.write(json.dumps(entry) + "\n")
        self._journal.flush()

    async def _execute(self) -> None:
        request_id = f"{self._number}-{self._dice.randrange(2**48):x}"
        session = self._dice.choice(self._sessions)
        goes_on = self._dice.choice(["continue", "cancel"])
        self._write(**{"is": "sent", "id": request_id, "session": session, "on_disconnect": goes_on})
        await self._read("execute", request_id, self._stream(request_id, session, goes_on))

    async def _again(self) -> None:
        if sent := self._known_request():
            stream = self._stream(sent["id"], sent["session"], sent["on_disconnect"])
            await self._read("again", sent["id"], stream)

    async def _attach(self) -> None:
        if sent := self._known_request():
            await self._read("attach", sent["id"], self._oblix.attach(sent["id"]))

    async def _cancel(self) -> None:
        if sent := self._known_request():
            self._write(**{"is": "begun", "what": "cancel", "id": sent["id"]})
            with suppress(OblixError):
                await self._oblix.cancel(sent["id"])

    def _stream(self, request_id: str, session: str, goes_on: str) -> Any:
        prompt = prompt_of(request_id)
        return self._oblix.stream(prompt, request_id=request_id, session_id=session, on_disconnect=goes_on)

    async def _read(self, what: str, request_id: str, stream: Any) -> None:
        """Read to the end, or leave in the middle; write down what came."""
        self._write(**{"is": "begun", "what": what, "id": request_id})
        timeouts = self._dice.choice([1, 5, 10**6, 10**6, 10**6])
        text, end = "", "left"
        try:
            async with aclosing(stream) as events:
                async for event in events:
                    timeouts -= 1
                    text += event.text if isinstance(event, Delta) else ""
                    end = event.finish_reason if isinstance(event, Completed) else end
                    if timeouts < 0:
                        break
        except OblixError as error:
            end = error.reason
        self._write(**{"is": "saw", "what": what, "id": request_id, "text": text, "end": end})

    def _known_request(self) -> dict[str, Any] | None:
        """A request that some client sent lately."""
        path = self._home / f"journal-{self._dice.randrange(CLIENTS)}"
        lines = path.read_text().splitlines()[-40:] if path.exists() else []
        sent = []
        for line in lines:
            with suppress(json.JSONDecodeError):
                sent.append(json.loads(line))
        return self._dice.choice([one for one in sent if one["is"] == "sent"] or [None])


if __name__ == "__main__":
    url, number, seed, *sessions = sys.argv[1:]
    asyncio.run(Client(url, number, int(seed), sessions).rage())
