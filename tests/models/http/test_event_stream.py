"""Lines and events come out the same, wherever the network cut them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblixd.models.http import event_stream
from oblixd.models.http.event_stream import EventSplitter, LineSplitter, TooLongError

PLAIN = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in reads that end at these places."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(PLAIN), st.sampled_from(["\n", "\r\n", "\r"]), PLAIN, st.lists(st.integers(0)))
def test_lines_do_not_depend_on_the_reads(lines: list[str], end: str, rest: str, places: list[int]) -> None:
    cutter = LineSplitter()
    data = ("".join(line + end for line in lines) + rest).encode()
    seen = [line for read in cut(data, places) for line in cutter.feed(read)]
    assert [line.decode() for line in seen] == lines
    assert cutter.rest().decode() == rest


@given(st.lists(PLAIN, min_size=1), st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0)))
def test_events_do_not_depend_on_the_reads(texts: list[str], end: str, places: list[int]) -> None:
    cutter = EventSplitter()
    wire = "".join(f": ping{end}event: x{end}data: it is {text}{end}{end}" for text in texts).encode()
    seen = [event for read in cut(wire, places) for event in cutter.feed(read)]
    assert [event.decode() for event in seen] == [f"it is {text}" for text in texts]
    assert cutter.rest() == []


WRITTEN = (
    *('data: {"a":1}\n\n', "data: {}\n\n", "data: [DONE]\n\n", "data: \n\n", "data: : ping\n\n"),
    *('data: {"a":\ndata: 1}\n\n', 'data: {"a":1}\ndata: {"b":2}\n\n', "data:no blank\n\n", "data:  two\n\n"),
    *("event: ping\ndata: {}\n\n", "event: x\n", ": comment\n\n", ": comment\n", "\n", "\r", "\r\n"),
    *('event: x\ndata: {"a":1}\n\n', 'event: x\ndata: {"c":3}\n\n', '{"c": 3}\n{"d": 4}\n', '{"e": 5} \n'),
    *('data: {"a":1}\r\n\r\n', '{"b": 1}\n', '{\n  "b": 1\n}\n', 'error: {"code":1}\n', "data: cut"),
)
"""What servers write, much of it not as it should be."""


@given(st.lists(st.sampled_from(WRITTEN)), st.lists(st.integers(0)), st.booleans())
def test_whole_events_come_out_as_single_bytes_do(
    written: list[str], places: list[int], of_lines: bool
) -> None:
    wire = "".join(written).encode()
    whole, single = EventSplitter(of_lines=of_lines), EventSplitter(of_lines=of_lines)
    seen = [event for read in cut(wire, places) for event in whole.feed(read)]
    expected = [event for byte in wire for event in single.feed(bytes([byte]))]
    assert [*seen, *whole.rest()] == [*expected, *single.rest()]


@pytest.mark.parametrize(
    ("wire", "events"),
    [
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data\n\n", []),
        (b"data: a\rdata: b\r\r", [b"a\nb"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b'{\n  "a": {\n    "b": 1\n  }\n}\n', [b'{\n  "a": {\n    "b": 1\n  }\n}']),
        (b'{\n"a": {\n"b": 1\n}\n}', [b'{\n"a": {\n"b": 1\n}\n}']),
        (b'\n\n  {"a": 1}', [b'  {"a": 1}']),
        (b"[DONE]\n", [b"[DONE]"]),
        (b'data: {"a":1}\ndata: {"b":2}\ndata: [DONE]\n', [b'{"a":1}', b'{"b":2}', b"[DONE]"]),
        (b'data: {"a":\ndata: 1}\n\n', [b'{"a":\n1}']),
        (b"\n\n\n", []),
        (b": only a comment\n\n", []),
        (b"id: 1\nretry: 5\nunknown: x\n\n", []),
        (b'{"error":"unframed"}\n', [b'{"error":"unframed"}']),
        (b'error: {"code":500}\n\n', [b'{"code":500}']),
        (b"data: no empty line behind", [b"no empty line behind"]),
        (b"data: no empty line behind\n", [b"no empty line behind"]),
    ],
)
def test_events_as_servers_write_them(wire: bytes, events: list[bytes]) -> None:
    cutter = EventSplitter()
    assert [*cutter.feed(wire), *cutter.rest()] == events


def test_an_event_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "LONGEST_LINE", 100)
    lines = LineSplitter()
    assert lines.feed(b"x" * 100 + b"\n" + b"y" * 60) == [b"x" * 100]
    with pytest.raises(TooLongError):
        lines.feed(b"y" * 41)


def test_an_event_of_many_lines_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "LONGEST_LINE", 100)
    events = EventSplitter()
    with pytest.raises(TooLongError):
        events.feed(b"data: 0123456789\n" * 11)
