"""The embedded model's process ends with the daemon, however that ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support.drivers.waiting import eventually

DAEMON = """
import asyncio, sys
from pathlib import Path
from oblixd.models.embedded.connection import EmbeddedModels, EmbeddedSettings
from oblixd.models.hook_spec import spec_of
from oblixd.models.base import ChatRequest

async def main():
    models = EmbeddedModels(EmbeddedSettings(Path(sys.argv[1]), Path(sys.argv[2]), threads=1))
    connection = models.connect(spec_of("embedded", models.names[0]))
    async with connection._supervisor.use():
        print("serving", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("when", ["serving", "loading"])
def test_it_dies_with_the_daemon(home: Path, when: str) -> None:
    command = [sys.executable, "-c", DAEMON, str(home), str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        if when == "serving":
            assert daemon.stdout.readline() == "serving\n"
        else:
            asyncio.run(eventually(lambda: psutil.Process(daemon.pid).children()))
        [worker] = psutil.Process(daemon.pid).children()
        os.kill(daemon.pid, signal.SIGKILL)
        psutil.wait_procs([worker], timeout=60)
        assert not worker.is_running()
