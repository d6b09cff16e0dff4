"""The event log: one text, any number of readers."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix.v1 import executions_pb2

from oblixd.errors import InvalidArgumentError, UnavailableError
from oblixd.execution.event_log import EventLog

TEXT, REASONING = executions_pb2.DELTA_KIND_TEXT, executions_pb2.DELTA_KIND_REASONING
pieces = st.lists(st.tuples(st.sampled_from([TEXT, REASONING]), st.text(min_size=1)), max_size=20)


def fill_log(items: list[tuple[executions_pb2.DeltaKind, str]]) -> EventLog:
    log = EventLog()
    log.append(executions_pb2.ExecuteResponse(started=executions_pb2.ExecutionStarted(request_id="r")))
    for kind, text in items:
        log.append_text(kind, text.encode("utf-8", "replace"))
    return log


async def deltas(log: EventLog, offset: int = 0) -> list[executions_pb2.ExecutionDelta]:
    return [event.delta async for event in log.read(offset) if event.WhichOneof("event") == "delta"]


async def test_a_late_reader_gets_neighbours_of_one_kind_joined() -> None:
    log = fill_log([(REASONING, "hm"), (TEXT, "Grü"), (TEXT, "ße")])
    log.end()
    assert [(delta.kind, delta.text, delta.offset) for delta in await deltas(log)] == [
        (REASONING, "hm", 0),
        (TEXT, "Grüße", 2),
    ]


@given(pieces, st.data())
def test_from_any_offset_nothing_is_lost_and_nothing_repeated(
    items: list[tuple[executions_pb2.DeltaKind, str]], data: st.DataObject
) -> None:
    log = fill_log(items)
    log.end()
    whole = "".join(text for _, text in items).encode("utf-8", "replace")
    starts = [
        offset for offset in range(len(whole) + 1) if offset == len(whole) or whole[offset] & 0xC0 != 0x80
    ]
    offset = data.draw(st.sampled_from(starts))
    read = asyncio.run(deltas(log, offset))
    assert "".join(delta.text for delta in read).encode() == whole[offset:]


async def test_a_live_reader_is_woken_by_each_piece_and_by_the_end() -> None:
    log = fill_log([])
    reader = log.read()
    assert (await anext(reader)).started.request_id == "r"
    for text in ("a", "b"):
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        log.append_text(TEXT, text.encode())
        assert (await waiting).delta.text == text
    log.end()
    with pytest.raises(StopAsyncIteration):
        await anext(reader)


async def test_an_error_comes_after_everything_that_was_there() -> None:
    log = fill_log([(TEXT, "part")])
    log.end(UnavailableError("GONE", "gone"))
    reader = log.read()
    assert [(await anext(reader)).WhichOneof("event") for _ in range(2)] == ["started", "delta"]
    with pytest.raises(UnavailableError):
        await anext(reader)


async def test_a_long_text_leaves_in_pieces_of_whole_characters() -> None:
    text = "ü" * (1 << 20)
    log = fill_log([(TEXT, "x" + text)])
    log.end()
    read = await deltas(log)
    assert len(read) > 1
    assert "".join(delta.text for delta in read) == "x" + text


@pytest.mark.parametrize(("offset", "reason"), [(-1, "OFFSET_OUT_OF_RANGE"), (4, "OFFSET_OUT_OF_RANGE")])
async def test_an_offset_out_of_range_is_refused(offset: int, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await deltas(fill_log([(TEXT, "abc")]), offset)
    assert refused.value.reason == reason


async def test_an_offset_inside_a_character_is_refused() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await deltas(fill_log([(TEXT, "aü")]), 2)
    assert refused.value.reason == "OFFSET_INSIDE_CHARACTER"
