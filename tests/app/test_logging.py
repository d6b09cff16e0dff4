"""What the log looks like, in a process that really writes one."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest

from oblixd.app.logging_setup import LARGEST_BYTES

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (\w+) ([\w.]+): (.*)$")


@pytest.fixture
def log(home):
    return home / "oblixd.log"


def run(program, log, **redirected):
    """Run a program that logs, with standard error where `redirected` says."""
    prelude = (
        "import logging, sys\nfrom pathlib import Path\n"
        "from oblixd.app import logging_setup as logs\nlog = Path(sys.argv[1])\n"
    )
    return subprocess.run(
        [sys.executable, "-c", prelude + program, log], check=True, timeout=60, **redirected
    )


def records(text):
    return [LINE.match(line).groups() for line in text.splitlines()]


def logged(program, log):
    return records(run(program, log, stderr=subprocess.PIPE, text=True).stderr)


def test_ours_are_logged_from_the_level_on_and_those_of_libraries_from_warnings_on(log):
    program = """
logs.set_up("debug")
for name in ("oblixd.store", "aiohttp.client"):
    logging.getLogger(name).debug("detail")
    logging.getLogger(name).warning("beware")
"""
    assert logged(program, log) == [
        ("DEBUG", "oblixd.store", "detail"),
        ("WARNING", "oblixd.store", "beware"),
        ("WARNING", "aiohttp.client", "beware"),
    ]


def test_info_leaves_details_out(log):
    program = """
logs.set_up("info")
logging.getLogger("oblixd").debug("detail")
logging.getLogger("oblixd").info("news")
"""
    assert logged(program, log) == [("INFO", "oblixd", "news")]


def test_a_record_stays_on_its_line_whatever_is_in_it(log):
    program = r"""
logs.set_up("info")
logging.getLogger("oblixd").info("a\nb\r\x1b[31m\u2028c\x00")
"""
    [(_, _, message)] = logged(program, log)
    assert message == r"a | b | \x1b[31m | c\x00"


def test_a_traceback_is_on_the_line_of_its_record(log):
    program = """
logs.set_up("info")
try:
    {}["missing"]
except KeyError:
    logging.getLogger("oblixd").exception("it failed")
"""
    [(level, _, message)] = logged(program, log)
    assert level == "ERROR"
    assert message.startswith("it failed | Traceback")
    assert message.endswith("KeyError: 'missing'")
    assert "^" not in message


def test_the_time_is_utc(log):
    program = """
import os, time
os.environ["TZ"] = "Pacific/Kiritimati"
time.tzset()
logs.set_up("info")
record = logging.LogRecord("oblixd", 20, "", 0, "noon", (), None)
record.created, record.msecs = 43200.0, 0.0
logging.getLogger("oblixd").handle(record)
"""
    result = run(program, log, stderr=subprocess.PIPE, text=True)
    assert result.stderr == "1970-01-01T12:00:00.000Z INFO oblixd: noon\n"


FILL = """
logs.set_up("info", log)
for number in range(9):
    logging.getLogger("oblixd").info("%d %s", number, "x" * (1 << 20))
"""


def test_the_log_file_is_cut_before_it_grows_too_large(log):
    with log.open("ab") as file:
        run(FILL, log, stderr=file)
    old = log.with_name("oblixd.log.1")
    numbers = [message.split()[0] for _, _, message in records(old.read_text() + log.read_text())]
    assert numbers == [str(number) for number in range(9)]
    assert old.stat().st_size > LARGEST_BYTES
    assert log.stat().st_size <= LARGEST_BYTES


def test_a_file_that_is_not_our_log_is_never_cut(log, tmp_path):
    log.touch()
    with (tmp_path / "other").open("ab") as file:
        run(FILL, log, stderr=file)
    assert (tmp_path / "other").stat().st_size > LARGEST_BYTES
    assert list(log.parent.iterdir()) == [log]


IN_AN_EXECUTION = """
import asyncio
async def work():
    logging.getLogger("oblixd.router").warning("the model failed")
    logging.getLogger("oblixd.router").warning("request-7 failed")
async def main():
    await asyncio.create_task(work(), name="execution request-7")
asyncio.run(main())
"""


def test_a_record_names_the_request_that_it_is_about_once(log):
    messages = [message for _, _, message in logged('logs.set_up("info")\n' + IN_AN_EXECUTION, log)]
    assert messages == ["the model failed request=request-7", "request-7 failed"]


def test_the_journal_gets_fields(log, home):
    program = f"""
from oblixd.app import journal
journal.is_standard_error = lambda environ: True
journal.JournalHandler.__init__.__defaults__ = ({str(home / "journal")!r},)
logs.set_up("info")
{IN_AN_EXECUTION}
"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(home / "journal"))
        journal.settimeout(60)
        run(program, log)
        fields = dict(line.split("=", 1) for line in journal.recv(4096).decode().splitlines())
    assert fields == {
        "MESSAGE": "the model failed request=request-7",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "oblixd",
        "LOGGER": "oblixd.router",
        "CODE_FUNC": "work",
        "OBLIX_REQUEST_ID": "request-7",
    }


def test_without_a_journal_records_go_to_standard_error(log, home):
    program = f"""
from oblixd.app import journal
journal.is_standard_error = lambda environ: True
journal.JournalHandler.__init__.__defaults__ = ({str(home / "nobody")!r},)
logs.set_up("info")
logging.getLogger("oblixd").info("news")
"""
    assert logged(program, log) == [("INFO", "oblixd", "news")]
