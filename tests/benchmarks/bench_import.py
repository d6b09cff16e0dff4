"""A hundred thousand messages that several tools keep, imported; and imported once more, when nothing is new.

    python tests/benchmarks/bench_import.py [MESSAGES]

makes codex rollouts, opencode's database and ChatGPT's export with so many messages in all (100,000), and
imports them into a daemon of its own, durably. Beside it stands what `json.loads` alone takes for the same
bytes, in the same run.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from measure import Line, anonymous_mb, report
from oblix import ImportReport, OblixClient
from oblix.formats.agents import places
from oblix.formats.reading import read_file
from support.drivers.daemon import run_daemon

PER_CONVERSATION = 100
WORDS = "The notes name moss, fern and ivy; the wall is old, and the light comes from the north. " * 6


def main() -> int:
    """Make the files, import them twice, and read them alone."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        home = Path(directory) / "home"
        files = _make(home, count)
        size = sum(path.stat().st_size for path in files)
        own = Path(directory) / "oblix"
        own.mkdir(0o700)
        os.environ["OBLIX_HOME"] = str(own)
        with run_daemon(own, OBLIX_EMBEDDED_ENABLED="false"):
            began = time.process_time()
            first_s, first = _time(lambda: _import(files))
            own_s = time.process_time() - began
            memory_mb = anonymous_mb(os.getpid())
            again_s, again = _time(lambda: _import(files))
        assert first.messages >= count
        assert again.messages == 0
        bare_s, _ = _time(lambda: _read_bare(files))
        read_s, _ = _time(lambda: _read(files))
        return report(
            f"Import of {first.messages:,} messages in {first.imported:,} conversations, {size / 1e6:.0f} MB",
            [
                Line("import, recorded durably", first_s, "s", 60),
                Line("of which the importing process computed", own_s, "s"),
                Line("import once more, nothing new", again_s, "s", 60),
                Line("reading and accounting for every word, no daemon", read_s, "s"),
                Line("json.loads of the same bytes", bare_s, "s"),
                Line("import / json.loads", first_s / bare_s, ""),
                Line("memory of the importing process after it", memory_mb, "MB", 300),
                Line("Python's peak while the largest conversation is read", _peak_mb(files), "MB", 100),
            ],
        )


def _time(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = call()
    return time.perf_counter() - began, found


def _import(files: list[Path]) -> ImportReport:
    async def run() -> ImportReport:
        async with OblixClient() as client:
            return await client.import_sessions(files)

    return asyncio.run(run())


def _read(files: list[Path]) -> None:
    for path in files:
        for _ in read_file(path, None):
            pass


def _read_bare(files: list[Path]) -> None:
    for path in files:
        if path.suffix == ".db":
            with closing(sqlite3.connect(path)) as database:
                for (data,) in database.execute("SELECT data FROM part"):
                    json.loads(data)
        elif path.suffix == ".jsonl":
            for line in path.read_bytes().splitlines():
                json.loads(line)
        else:
            json.loads(path.read_bytes())


def _peak_mb(files: list[Path]) -> float:
    tracemalloc.start()
    _read(files[:1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def _make(home: Path, count: int) -> list[Path]:
    """Two fifths codex, two fifths opencode, one fifth ChatGPT."""
    conversations = count // PER_CONVERSATION
    for number in range(conversations * 2 // 5):
        _codex(home, number)
    _opencode(home, conversations * 2 // 5)
    exported = _chatgpt(home, conversations - 2 * (conversations * 2 // 5))
    found = places.search(home, {})
    return [*(path for each in found for path in each.files), exported]


def _text(number: int) -> str:
    return f"{number}: {WORDS}"


def _codex(home: Path, number: int) -> None:
    name = f"01a222f7-0000-7000-8000-{number:012}"
    path = home / f".codex/sessions/2026/11/28/rollout-2026-11-28T16-00-00-{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"id": name, "cwd": "/garden", "timestamp": "2026-11-28T16:00:00Z", "cli_version": "0.171.0"}
    lines: list[dict[str, Any]] = [
        {"timestamp": "2026-11-28T16:00:00Z", "type": "session_meta", "payload": about}
    ]
    for place in range(PER_CONVERSATION):
        role, kind = ("assistant", "output_text") if place % 2 else ("user", "input_text")
        content = [{"type": kind, "text": _text(place)}]
        payload = {"type": "message", "id": f"msg_{place}", "role": role, "content": content}
        moment = f"2026-11-28T16:{place // 60:02}:{place % 60:02}Z"
        lines.append({"timestamp": moment, "type": "response_item", "payload": payload})
        lines.append(
            {"timestamp": moment, "type": "event_msg", "payload": {"type": "token_count", "info": None}}
        )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _opencode(home: Path, conversations: int) -> None:
    path = home / ".local/share/opencode/opencode.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(
            """CREATE TABLE session (id PRIMARY KEY, directory, title, version, revert, time_created,
                time_updated, time_archived, parent_id);
            CREATE TABLE message (id PRIMARY KEY, session_id, time_created, time_updated, data);
            CREATE TABLE part (id PRIMARY KEY, message_id, session_id, time_created, time_updated, data);
            CREATE INDEX of_session ON message (session_id);
            CREATE INDEX part_of_session ON part (session_id);"""
        )
        for number in range(conversations):
            own, start = f"ses_{number:06}", 1_795_883_032_444 + number * 1_000_000
            session = (own, "/garden", f"Session {number}", "1.18.33", None, start, start, None, None)
            database.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", session)
            for place in range(PER_CONVERSATION):
                name, moment = f"msg_{number:06}{place:04}", start + place * 1000
                role = "assistant" if place % 2 else "user"
                data = json.dumps(
                    {"role": role, "time": {"created": moment}, "providerID": "p", "modelID": "m"}
                )
                database.execute(
                    "INSERT INTO message VALUES (?, ?, ?, ?, ?)", (name, own, moment, moment, data)
                )
                part = json.dumps({"type": "text", "text": _text(place)})
                row = (f"prt_{number:06}{place:04}", name, own, moment, moment, part)
                database.execute("INSERT INTO part VALUES (?, ?, ?, ?, ?, ?)", row)


def _chatgpt(home: Path, conversations: int) -> Path:
    path = home / "conversations.json"
    with path.open("w") as file:
        for number in range(conversations):
            mapping = {
                f"n{place}": {
                    "id": f"n{place}",
                    "parent": f"n{place - 1}" if place else None,
                    "message": {
                        "id": f"n{place}",
                        "author": {"role": "assistant" if place % 2 else "user"},
                        "create_time": 1_700_000_000 + place,
                        "content": {"content_type": "text", "parts": [_text(place)]},
                    },
                }
                for place in range(PER_CONVERSATION)
            }
            chat = {"conversation_id": f"chat-{number}", "title": f"Chat {number}", "mapping": mapping}
            file.write(("[" if not number else ",") + json.dumps(chat))
        file.write("]")
    return path


if __name__ == "__main__":
    sys.exit(main())
