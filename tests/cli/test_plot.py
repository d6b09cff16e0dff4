"""`oblix plot`: a picture that a browser shows, whatever the history holds."""

from __future__ import annotations

import math
import re
import time
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oblix.cli.commands.service.plot import svg
from oblix.cli.commands.service.plot.picture import picture
from oblix.cli.commands.service.plot.series import load, network, spans
from oblix.v1 import monitor_pb2, routing_pb2

NOW = 1_700_000_000
SVG = "{http://www.w3.org/2000/svg}"


def history(*moments: int) -> monitor_pb2.GetHistoryResponse:
    told = monitor_pb2.GetHistoryResponse()
    for moment in moments:
        sample = told.snapshots.add(resource_state=routing_pb2.RESOURCE_STATE_AVAILABLE)
        sample.sample_time.FromSeconds(NOW + moment)
        sample.resources.cpu_percent = 50.0
        endpoint = sample.connectivity.endpoints.add(endpoint="https://api.example.com:443")
        endpoint.latency = 20.0
    return told


def prompt(told: monitor_pb2.GetHistoryResponse, model: str, location: int, **fields: str) -> None:
    added = told.prompts.add(model=model, location=location, rule="ALL_WELL", **fields)
    added.route_time.FromSeconds(NOW)


def texts(drawn: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(drawn).iter(f"{SVG}text")]


def test_it_names_what_it_shows() -> None:
    told = history(0, 1, 2)
    prompt(told, "ollama:llama2", routing_pb2.LOCATION_LOCAL)
    prompt(told, "openai:gpt-4o", routing_pb2.LOCATION_CLOUD, answered_by="claude:haiku")
    words = texts(picture(told, 60))
    assert {"CPU", "api.example.com:443", "ollama:llama2", "claude:haiku"} <= set(words)
    assert "memory" not in words  # it was not known


def test_cloud_models_are_above_those_of_this_machine() -> None:
    told = history(0)
    prompt(told, "a:local", routing_pb2.LOCATION_LOCAL)
    prompt(told, "z:cloud", routing_pb2.LOCATION_CLOUD)
    words = texts(picture(told, 60))
    assert words.index("z:cloud") < words.index("a:local")


def test_a_prompt_that_another_model_answered_is_hollow() -> None:
    told = history(0)
    prompt(told, "a:b", routing_pb2.LOCATION_CLOUD, answered_by="a:b")
    prompt(told, "a:b", routing_pb2.LOCATION_CLOUD, answered_by="embedded:small")
    prompt(told, "a:b", routing_pb2.LOCATION_CLOUD)
    root = ET.fromstring(picture(told, 60))
    dots = root.findall(f"{SVG}circle")[-2:]
    assert [dot.get("fill") == "#ffffff" for dot in dots] == [False, True]
    (cross,) = root.findall(f"{SVG}path")
    assert "answered by nobody" in (cross.findtext(f"{SVG}title") or "")


def test_an_embedded_model_is_below_the_cloud_also_where_it_only_stood_in() -> None:
    told = history(0)
    prompt(told, "z:cloud", routing_pb2.LOCATION_CLOUD, answered_by="z:cloud")
    prompt(told, "z:cloud", routing_pb2.LOCATION_CLOUD, answered_by="embedded:small")
    words = texts(picture(told, 60))
    assert words.index("z:cloud") < words.index("embedded:small")


def test_an_outage_of_one_endpoint_is_shaded_also_where_it_never_was_reached() -> None:
    told = history(0, 1, 2, 3)
    for sample in told.snapshots:
        sample.connectivity.endpoints.add(
            endpoint="https://gone.example.com:443", state="CONNECTIVITY_STATE_DISCONNECTED"
        )
    drawn = picture(told, 60)
    titles = [title.text for title in ET.fromstring(drawn).iter(f"{SVG}title")]
    assert titles == ["gone.example.com:443 could not be reached"]
    assert "gone.example.com:443" in texts(drawn)


def test_the_axes_fit_what_is_shown() -> None:
    told = history(0, 1, 2)
    for sample in told.snapshots:
        sample.connectivity.endpoints[0].latency = 1.5
    words = texts(picture(told, 900))
    assert {"0.5", "1", "1.5", "2"} <= set(words)
    times = [word for word in words if re.fullmatch(r"\d\d:\d\d", word)]
    minutes = [60 * int(word[:2]) + int(word[3:]) for word in times]
    assert {(late - early) % 1440 for early, late in pairwise(minutes)} == {3}
    assert time.strftime("%Y-%m-%d", time.localtime(NOW)) in words[0]


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("\ufffe \uffff \x0b \x85 \U0001ffff")
def test_a_document_can_be_read_whatever_a_name_holds(name: str) -> None:
    ET.fromstring(svg.document(9, 9, [svg.text((0, 0), name), svg.dot((0, 0), "#000000", title=name)]))


def test_without_anything_it_says_so() -> None:
    words = texts(picture(monitor_pb2.GetHistoryResponse(), 60))
    assert {"no prompt", "no cloud model was reached or tried"} <= set(words)


def test_a_name_is_text_and_nothing_more() -> None:
    told = history(0)
    prompt(told, '<script>"&\x1b', routing_pb2.LOCATION_CLOUD)
    drawn = picture(told, 60)
    assert '<script>"&' in texts(drawn)
    assert "<script" not in drawn


def test_with_many_models_the_rare_ones_share_a_lane() -> None:
    told = history(0)
    for number in range(20):
        for _ in range(20 - number):
            prompt(told, f"m:{number}", routing_pb2.LOCATION_CLOUD)
    words = texts(picture(told, 60))
    assert "m:0" in words
    assert "m:19" not in words
    assert "other models" in words


def test_a_line_ends_where_nothing_was_sampled_and_where_it_was_not_known() -> None:
    told = history(0, 1, 2, 60, 61, 62)
    told.snapshots[4].resources.ClearField("cpu_percent")
    cpu = next(series for series in load(told.snapshots) if series.name == "CPU")
    assert [[x - NOW for x, _ in run] for run in cpu.runs] == [[0, 1, 2], [60], [62]]
    assert [[x - NOW for x, _ in run] for run in network(told.snapshots)[0].runs] == [[0, 1, 2], [60, 61, 62]]


def test_a_state_holds_until_the_next_and_not_while_nothing_was_sampled() -> None:
    told = history(0, 1, 2, 60, 61)
    told.snapshots[2].resource_state = routing_pb2.RESOURCE_STATE_CRITICAL
    found = spans(told.snapshots, lambda snapshot: snapshot.resource_state)
    assert [(start - NOW, end - NOW, state) for start, end, state in found] == [
        (0, 2, 1),
        (2, 2, 3),
        (60, 61, 1),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 900), st.floats(0, 1e7), st.integers(0, 3)), max_size=30),
    st.integers(1, 900),
)
def test_nothing_is_drawn_outside(samples: list[tuple[int, float, int]], seconds: int) -> None:
    told = history(*sorted(moment for moment, _, _ in samples))
    for snapshot, (_, latency, state) in zip(told.snapshots, samples, strict=True):
        snapshot.connectivity.endpoints[0].latency = latency
        snapshot.connectivity.state = state
    root = ET.fromstring(picture(told, seconds))
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    for line in root.iter(f"{SVG}polyline"):
        for point in (line.get("points") or "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
            assert math.isfinite(x + y)


def test_it_is_written_to_a_file_or_to_standard_output(oblix, tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    done = oblix("plot", "--last", "1m", "-o", str(path))
    assert "shows" in done.stderr
    assert ET.parse(path).getroot().tag == f"{SVG}svg"
    assert ET.fromstring(oblix("plot", "-o", "-").stdout).tag == f"{SVG}svg"
    refused = oblix("plot", "-o", str(tmp_path / "missing" / "plot.svg"), ok=False)
    assert refused.returncode == 1
    assert "is no directory" in refused.stderr
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    "words",
    [("--last", "16m"), ("--last", "0s"), ("--last", "soon"), ("--last", "15"), ("-o", "plot.png")],
    ids=" ".join,
)
def test_wrong_usage_is_said_before_anything_is_asked(oblix, words: tuple[str, str]) -> None:
    done = oblix("plot", *words, ok=False)
    assert done.returncode == 2
    assert words[1] in done.stderr
