"""What `oblix top` draws, in terminals of all sizes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix.cli.commands.service.top.machine import bar
from oblix.cli.commands.service.top.state import DECISIONS, State
from oblix.cli.commands.service.top.view import LEAST, fitted_view, full_view, share_rows
from oblix.v1 import executions_pb2, models_pb2, monitor_pb2, routing_pb2
from rich.console import Console

ESCAPE = "\x1b]0;taken over\x07"


def full_state() -> State:
    """A machine with much to tell."""
    state = State(waiting="", moment_s=1000.0)
    resources = state.snapshot.resources
    resources.cpu_percent, resources.own_cpu_percent, resources.load_average = 75.0, 50.0, 3.5
    resources.cpu_count, resources.memory_percent = 8, 40.0
    resources.memory_total_bytes, resources.memory_available_bytes = 16 << 30, 9 << 30
    resources.battery_percent, resources.is_plugged_in, resources.is_throttled = 42.0, False, True
    for number in range(6):
        resources.gpus.add(name=f"GPU {number}{ESCAPE}", utilization=0.5, temperature_celsius=61.0)
    network = state.snapshot.connectivity
    network.state, network.connection_type, network.latency = (
        routing_pb2.CONNECTIVITY_STATE_DEGRADED,
        "wired",
        250.0,
    )
    for number in range(5):
        network.endpoints.add(endpoint=f"https://{number}.example.com:443", packet_loss=12.0, reason="no way")
    cooling = models_pb2.Model(id="openai:gpt-4o", queued_count=3, running_count=2, max_running=4)
    cooling.cooldown_until.FromSeconds(1030)
    cooling.tokens_per_second = 51.4
    state.models = [cooling, *(models_pb2.Model(id=f"ollama:model-{n}") for n in range(30))]
    running = executions_pb2.Execution(
        state="EXECUTION_STATE_QUEUED", place=2, prompt_excerpt=f"Hello{ESCAPE}"
    )
    state.executions = [running] * 30
    for number in range(12):
        ended = executions_pb2.Execution(
            state="EXECUTION_STATE_COMPLETED", prompt_excerpt=f"it is over {number}."
        )
        ended.end_time.FromSeconds(number)
        state.executions.append(ended)
    state.take(
        monitor_pb2.RoutedPrompt(request_id=f"{n}", model="ollama:a", answered_by="openai:b", rule="ALL_WELL")
        for n in range(30)
    )
    return state


def draw_lines(renderable: object, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, highlight=False).print(renderable)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (60, 10), (40, 5), (80, 40)])
def test_the_view_fits_the_window(width: int, height: int) -> None:
    lines = draw_lines(fitted_view(full_state(), width, height), width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 15)  # the machine itself is never cut by us; the terminal shows its top


def test_it_shows_what_matters() -> None:
    text = "\n".join(draw_lines(full_view(full_state(), 160), 160))
    for told in (
        "[============||||||      ]  75 %  ours (=) 50 %  load 3.50  8 cores",
        "9.0 of 16.0 GiB free",
        "battery 42 %, on battery",
        "slowed down by heat",
        "degraded  wired  latency 250 ms",
        "https://2.example.com:443",
        "and 2 more",
        "cools 30 s",
        "2/4",
        "51/s",
        "queued 2",
        "ALL_WELL, fell back from ollama:a",
    ):
        assert told in text
    assert "it is over" not in "\n".join(draw_lines(fitted_view(full_state(), 160, 200), 160))


def test_a_page_has_all_that_runs_and_the_last_of_what_is_over() -> None:
    lines = draw_lines(full_view(full_state(), 160), 160)
    ended = [line.split("it is over ")[1].strip() for line in lines if "it is over" in line]
    assert ended == [f"{number}." for number in range(11, 1, -1)]
    assert sum("queued 2" in line for line in lines) == 30
    decided = next(place for place, line in enumerate(lines) if line.startswith("DECIDED"))
    assert len(lines[decided + 1 :]) == 20
    assert lines[-1].strip() == "and 11 more"


def test_nobody_takes_over_the_terminal_by_a_name_or_a_prompt() -> None:
    text = "\n".join(draw_lines(full_view(full_state(), 160), 160))
    assert "taken over" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_unknown_figures_are_shown_as_unknown() -> None:
    text = "\n".join(draw_lines(full_view(State(waiting=""), 80), 80))
    assert "CPU      not known" in text
    assert "memory   not known" in text
    assert "none is configured" in text
    assert "nothing runs" in text


def test_without_a_daemon_it_says_what_it_waits_for() -> None:
    lines = draw_lines(fitted_view(State(waiting="no daemon runs"), 80, 24), 80)
    assert lines[1:] == ["waiting for oblixd: no daemon runs"]


@given(st.integers(-5, 100), st.lists(st.integers(0, 50), max_size=5))
def test_room_is_shared_and_never_more_than_there_is(room: int, wanted: list[int]) -> None:
    shares = share_rows(room, wanted)
    given_rows = [share for share in shares if share is not None]
    assert sum(share + LEAST - 1 for share in given_rows) <= max(0, room)
    assert all(share <= max(1, rows) for share, rows in zip(shares, wanted, strict=True) if share is not None)
    left = room - sum(share + LEAST - 1 for share in given_rows)
    assert left < LEAST or shares == [max(1, rows) for rows in wanted]


@given(st.floats(-1.0, 2.0), st.floats(-1.0, 2.0), st.integers(1, 60))
def test_a_bar_is_as_wide_as_it_was_asked_to_be(share: float, own: float, width: int) -> None:
    assert len(bar(share, own, width)) == width + 2


def test_the_newest_decisions_are_kept_and_an_answered_one_comes_again() -> None:
    state = State()
    state.take(monitor_pb2.RoutedPrompt(request_id=str(number)) for number in range(DECISIONS + 20))
    state.take([monitor_pb2.RoutedPrompt(request_id="50", answered_by="ollama:a")])
    assert len(state.prompts) == DECISIONS
    assert list(state.prompts)[-1] == "50"
    assert "19" not in state.prompts
