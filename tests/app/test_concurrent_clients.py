"""Several processes, one daemon: nothing is lost, and each one's own order is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from oblix import OblixClient
from support.drivers.daemon import run_daemon
from support.drivers.grpc_calls import Wire

PROCESSES = 4
EACH = 250
WAIT_S = 200.0
EACH_WHO_MEETS = 20
APPEND = """
import sys
from oblix import OblixClient
client = OblixClient()
for number in range({each}):
    client.session_manager.save_message(sys.argv[1], f"{{sys.argv[2]}} {{number}}")
"""


def test_four_processes_append_to_one_session(home: Path) -> None:
    with run_daemon(home) as daemon:
        session = Wire(daemon.channel).session()
        writers = [
            subprocess.Popen([sys.executable, "-c", APPEND.format(each=EACH), session, str(name)])
            for name in range(PROCESSES)
        ]
        assert [writer.wait(WAIT_S) for writer in writers] == [0] * PROCESSES
        loaded = OblixClient().load_session(session)
    assert loaded is not None
    said = [message["content"].split() for message in loaded["messages"]]
    assert len(said) == PROCESSES * EACH
    for name in range(PROCESSES):
        assert [int(number) for who, number in said if who == str(name)] == list(range(EACH))


MEET = """
import asyncio, sys
from oblix import OblixClient

async def main():
    client = OblixClient()
    session = await client.create_session(session_id="meeting", get_or_create=True)
    for number in range({each}):
        client.session_manager.save_message(session, f"{{sys.argv[1]}} {{number}}")

asyncio.run(main())
"""


def test_eight_processes_meet_at_a_new_name(home: Path) -> None:
    with run_daemon(home):
        program = MEET.format(each=EACH_WHO_MEETS)
        writers = [subprocess.Popen([sys.executable, "-c", program, str(name)]) for name in range(8)]
        assert [writer.wait(WAIT_S) for writer in writers] == [0] * 8
        client = OblixClient()
        loaded, listed = client.load_session("meeting"), client.list_sessions()
    assert loaded is not None
    assert [session["id"] for session in listed] == ["meeting"]
    said = [message["content"].split() for message in loaded["messages"]]
    for name in range(8):
        assert [int(number) for who, number in said if who == str(name)] == list(range(EACH_WHO_MEETS))
