"""`oblix sessions search`."""

from __future__ import annotations

import json
import sys

from support.drivers.terminal import terminal
from support.drivers.waiting import eventually

COMMAND = (sys.executable, "-m", "oblix", "sessions", "search")


async def test_each_hit_is_a_line_or_json(ask, oblix) -> None:
    ask("Where is the lighthouse?")

    def lines() -> list[list[str]]:
        return [
            line.split("\t") for line in oblix("sessions", "search", "lighthouse", "is").stdout.splitlines()
        ]

    await eventually(lambda: len(lines()) == 3)
    assert {line[2] for line in lines()} == {"-", "user", "assistant"}
    told = json.loads(oblix("sessions", "search", "--json", "lighthouse", "is").stdout)
    assert [[hit["session_id"], str(hit["sequence"])] for hit in told] == [line[:2] for line in lines()]
    assert oblix("sessions", "search", "nowheretobefound").stdout == ""


async def test_on_a_terminal_the_words_are_bold(oblix) -> None:
    session_id = oblix("sessions", "create", "The \x1b]0;owned\x07 harbour").stdout.strip()
    await eventually(lambda: session_id in oblix("sessions", "search", "harbour").stdout)
    with terminal(*COMMAND, "harbour") as shown:
        text = shown.rest()
    assert session_id[:13] in text
    assert "\x1b[1mharbour\x1b[0m" in shown.raw
    assert "\x1b]0" not in shown.raw
