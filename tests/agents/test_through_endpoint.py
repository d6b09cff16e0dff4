"""Agents that people use, run for real through the endpoint: their own way of asking, calling and giving up.

`oblix connect` and `oblix run` tell each of them where the endpoint is. The model behind it follows a script.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from oblix.testing import Answer
from support.agent_desk import AGENTS, AIDER, CLAUDE, CODEX, NOTE, TEXT, Desk, desk_of, last_output
from support.servers.agent_model import ANSWER, WritesOnce, dies, overflows

pytestmark = pytest.mark.agents

LASTING = {
    "aider": ("aider", "--model", "openai/auto", *AIDER, "--message"),
    "claude": ("claude", "--model", "auto", *CLAUDE, "-p"),
    "codex": ("codex", *CODEX, "-p", "oblix"),
    "gptme": ("gptme", "-m", "local/auto", "-n"),
    "opencode": ("opencode", "run"),
    "pi": ("pi", "--provider", "oblix", "--model", "auto", "-p"),
    "qwen-code": ("qwen", "--yolo", "-p"),
}
"""How a person starts a tool after `oblix connect`, where that differs from `oblix run`."""
CONNECT = """
oblix connect "$1" --write > told || oblix connect "$1" > told
eval "$(grep ^export told)"
shift
exec "$@"
"""
MOST_REQUESTS = 30
"""What an agent may ask for one prompt that fails: codex asks 6 times, and the summary as often."""


@pytest.fixture
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    with desk_of(request.param) as desk:
        yield desk


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("desk", [one for one in AGENTS if one.goes_on], indirect=True, ids=str)
def test_a_conversation_goes_on_and_is_found_again(desk: Desk) -> None:
    done = desk.ask("What grows in shade?")
    assert done.returncode == 0, last_output(done)
    assert ANSWER in done.stdout, last_output(done)
    asked = len(desk.model.requests)
    done = desk.ask("And in sun?", go_on=True)
    assert done.returncode == 0, last_output(done)
    later = desk.model.texts()[asked:]
    assert any("What grows in shade?" in text and ANSWER in text and "And in sun?" in text for text in later)
    (conversation,) = desk.conversations()
    questions = [
        question for question in conversation if "grows in shade" in question or "in sun" in question
    ]
    assert len(questions) == 2, conversation


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("desk", [one for one in AGENTS if one.name in LASTING], indirect=True, ids=str)
def test_it_starts_by_itself_after_it_was_connected(desk: Desk) -> None:
    name = desk.agent.name
    done = desk.run("sh", "-c", CONNECT, "sh", name, *LASTING[name], "What grows in shade?", check=False)
    assert ANSWER in done.stdout, last_output(done)
    assert len(desk.conversations()) == 1


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("desk", AGENTS, indirect=True, ids=str)
def test_a_tool_is_called_and_a_file_is_written(desk: Desk) -> None:
    script = WritesOnce(desk.agent.writes(desk.folder / NOTE))
    desk.model.answer = script
    done = desk.ask_to_write(f"Write {NOTE}.")
    assert (desk.folder / NOTE).exists(), last_output(done) + json.dumps(script.results)
    assert (desk.folder / NOTE).read_text().strip() == TEXT.strip()
    assert script.is_done, last_output(done)
    assert done.returncode == 0, last_output(done)


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("desk", AGENTS, indirect=True, ids=str)
def test_a_full_context_ends_and_the_next_prompt_works(desk: Desk) -> None:
    desk.model.answer = overflows
    done = desk.ask("What grows in shade?")
    assert 1 <= len(desk.model.requests) <= MOST_REQUESTS, last_output(done)
    desk.model.answer = lambda _body: Answer(ANSWER)
    done = desk.ask("What grows in sun?")
    assert ANSWER in done.stdout, last_output(done)


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("desk", AGENTS, indirect=True, ids=str)
def test_a_model_that_dies_is_asked_a_few_times_and_its_question_is_one_turn(desk: Desk) -> None:
    desk.model.answer = dies
    done = desk.ask("What grows in shade?")
    assert 1 <= len(desk.model.requests) <= MOST_REQUESTS, last_output(done)
    (questions,) = desk.conversations()
    assert sum("What grows in shade?" in question for question in questions) == 1, questions
    desk.model.answer = lambda _body: Answer(ANSWER)
    assert ANSWER in desk.ask("What grows in sun?").stdout
