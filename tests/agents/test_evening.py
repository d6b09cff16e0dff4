"""examples/evening.sh: a person works with three agents, and a fourth one goes on with what was said."""

from __future__ import annotations

import pytest
from support.agent_desk import AGENTS, Desk, desk_of, last_output
from support.repository.files import ROOT
from support.servers.agent_model import ANSWER

pytestmark = pytest.mark.agents

WORKED_IN = ("opencode", "gptme", "llm", "codex")


@pytest.mark.timeout(1500)
def test_an_evening_in_three_tools_is_found_searched_and_continued_in_a_fourth() -> None:
    chosen = [agent for agent in AGENTS if agent.name in WORKED_IN]
    with desk_of(*chosen, record="off") as desk:
        done = desk.run("sh", str(ROOT / "examples/evening.sh"), check=False, longest_s=1200)
        assert done.returncode == 0, last_output(done)
        for tool in WORKED_IN[:3]:
            assert tool in done.stdout
        assert "3 imported" in done.stderr
        assert "Which plants climb?" in done.stdout
        continued = desk.model.texts()[-1]
        for said in ("Which plants climb?", ANSWER, "And which of them is tallest?"):
            assert said in continued
        assert _sessions(desk) == 4
        assert "tallest" in done.stdout.splitlines()[-1]


def _sessions(desk: Desk) -> int:
    return len(desk.conversations())
