"""Hundreds of rounds of clients that are killed while they execute, attach, cancel and send again."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from oblix.testing import OllamaServer
from support import scale
from support.data.chaos_records import findings, turns_of
from support.drivers import processes
from support.drivers.chaos import Chaos
from support.figures import NoteFigure

ROUNDS = [
    (scale.count("CHAOS_ROUNDS", full=300, quick=40), False),
    (scale.count("CHAOS_ROUNDS", full=500, quick=30), True),
]


@pytest.mark.parametrize(("rounds", "kills_daemon"), ROUNDS, ids=["clients die", "the daemon dies, too"])
async def test_the_record_holds_the_questions_and_the_answers_that_clients_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int, kills_daemon: bool, note_figure: NoteFigure
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(2**32))
    print(f"seed {seed}")
    monkeypatch.setenv("OBLIX_HOME", str(tmp_path))
    with OllamaServer(["llama2"]) as server:
        chaos = Chaos(tmp_path, server, seed, rounds=rounds, kills_daemon=kills_daemon)
        try:
            await chaos.rage()
            print(Counter(turn.status for turn in turns_of(chaos).values()))
            assert findings(chaos).wrong == {}
            note_figure("kills of clients", chaos.kills["client"])
            note_figure("kills of the daemon under load", chaos.kills["daemon"])
        finally:
            processes.stop_all_of(tmp_path)
