"""Several processes, one daemon: nothing is lost, and each one's own order is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from oblix import OblixClient
from support.daemon import running
from support.wire import Wire

PROCESSES = 4
EACH = 250
APPEND = """
import sys
from oblix import OblixClient
client = OblixClient()
for number in range({each}):
    client.session_manager.save_message(sys.argv[1], f"{{sys.argv[2]}} {{number}}")
"""


def test_four_processes_append_to_one_session(home: Path) -> None:
    with running(home) as daemon:
        session = Wire(daemon.channel).session()
        writers = [
            subprocess.Popen([sys.executable, "-c", APPEND.format(each=EACH), session, str(name)])
            for name in range(PROCESSES)
        ]
        assert [writer.wait(50) for writer in writers] == [0] * PROCESSES
        loaded = OblixClient().load_session(session)
    assert loaded is not None
    said = [message["content"].split() for message in loaded["messages"]]
    assert len(said) == PROCESSES * EACH
    for name in range(PROCESSES):
        assert [int(number) for who, number in said if who == str(name)] == list(range(EACH))
