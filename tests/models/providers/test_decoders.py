"""Each wire format reads the same, wherever the network cut it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix.testing import Answer, ClaudeServer, ModelServer, OllamaServer, OpenAIServer, ToolCall
from support.answers import both, call, call_start, claude, delta, hear, piece, sse, stop

from oblixd.models import base
from oblixd.models.base import ContentKind, Finish, Finished, ModelError, ModelErrorKind, TokenCounts
from oblixd.models.http.event_stream import PlainEvents
from oblixd.models.http.server import ServerErrors
from oblixd.models.providers.claude_messages import MessageDecoder
from oblixd.models.providers.completions import CompletionDecoder
from oblixd.models.providers.ollama import OllamaDecoder
from oblixd.models.providers.responses import ResponseDecoder
from oblixd.models.streaming import Decoder, gather, read_object

PEER = ServerErrors("The server", "http://there")
REQUEST = {
    "model": "m",
    "messages": [{"role": "user", "content": "two words"}],
    "stream_options": {"include_usage": True},
}
FORMATS = {
    "ollama": (OllamaServer, OllamaDecoder),
    "openai": (OpenAIServer, CompletionDecoder),
    "claude": (ClaudeServer, MessageDecoder),
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


class Read:
    """What a decoder made of some reads."""

    def __init__(self, decoder: Decoder, reads: list[bytes]) -> None:
        self.pieces: list[tuple[ContentKind, str]] = []
        self.calls: dict[base.ToolCall, str] = {}
        self.error: ModelError | None = None
        for read in reads:
            contents, self.error = gather(decoder.pieces(read), PEER)
            self.pieces += [(one.kind, one.text) for one in contents]
            for one in contents:
                if one.call is not None:
                    self.calls[one.call] = self.calls.get(one.call, "") + one.text
            if self.error or decoder.complete:
                break

    def text(self, kind: ContentKind) -> str:
        return "".join(text for one, text in self.pieces if one is kind)


@pytest.fixture(scope="module")
def writers() -> Iterator[dict[str, ModelServer]]:
    """The test servers, for the frames that they write."""
    with ExitStack() as running:
        yield {name: running.enter_context(server()) for name, (server, _) in FORMATS.items()}


CALLS = st.lists(
    st.builds(ToolCall, st.sampled_from(["weather", "time"]), st.dictionaries(TEXTS, TEXTS, max_size=3)),
    max_size=3,
).map(lambda calls: tuple(replace(call, call_id=f"c{number}") for number, call in enumerate(calls)))
ANSWERS = st.builds(Answer, TEXTS, TEXTS, CALLS, finish=st.sampled_from(["stop", "length"]))


@pytest.mark.parametrize("name", FORMATS)
@given(answer=ANSWERS, places=st.lists(st.integers(0), max_size=20))
def test_an_answer_does_not_depend_on_the_reads(
    writers: dict[str, ModelServer], name: str, answer: Answer, places: list[int]
) -> None:
    decoder = FORMATS[name][1](PEER)
    frames = writers[name].frames(REQUEST, answer)
    wire = b"".join([frames.first, *frames.tokens, frames.last])
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    read = Read(decoder, [wire[start:end] for start, end in pairwise(edges) if start < end])
    assert read.error is None
    assert (read.text(ContentKind.TEXT), read.text(ContentKind.REASONING)) == (answer.text, answer.reasoning)
    heard = [ToolCall(call.name, json.loads(text or "{}"), call.call_id) for call, text in read.calls.items()]
    if name == "ollama":
        assert len({call.call_id for call in heard}) == len(answer.tool_calls), "ids are made up"
        heard = [
            replace(one, call_id=said.call_id) for one, said in zip(heard, answer.tool_calls, strict=True)
        ]
    assert tuple(heard) == answer.tool_calls
    # Claude's first event counts a token of the answer before there is one.
    spoken = max(len(answer.tokens) + len(answer.reasoning_tokens), name == "claude")
    reason = Finish.TOOL_CALLS if answer.calls else Finish(answer.finish)
    assert decoder.finish() == Finished(reason, TokenCounts(2, spoken), decoder.finish().state)


def test_pieces_of_one_read_are_given_together() -> None:
    lines = [{"message": {"thinking": "a"}}, {"message": {"thinking": "b"}}, {"message": {"content": "c"}}]
    wire = b"".join(json.dumps({**line, "done": False}).encode() + b"\n" for line in lines)
    read = Read(OllamaDecoder(PEER), [wire])
    assert read.pieces == [(ContentKind.REASONING, "ab"), (ContentKind.TEXT, "c")]


def test_an_error_comes_after_what_came_before_it() -> None:
    wire = b'{"message":{"content":"Half"},"done":false}\n{"error":"out of memory"}\n'
    read = Read(OllamaDecoder(PEER), [wire])
    assert read.pieces == [(ContentKind.TEXT, "Half")]
    assert read.error is not None
    assert "out of memory" in read.error.message


@pytest.mark.parametrize(
    ("chunk", "kind"),
    [
        ({"error": {"message": "no", "type": "server_error"}}, ModelErrorKind.FAILED),
        ({"error": "no"}, ModelErrorKind.FAILED),
        ({"object": "error", "message": "no", "code": 400}, ModelErrorKind.REFUSED),
        ({"error": {"message": "no", "code": 429}}, ModelErrorKind.RATE_LIMITED),
        ({"error": {"message": "no", "type": "exceed_context_size_error"}}, ModelErrorKind.CONTEXT_OVERFLOW),
        ({"error": {"message": "no", "type": "invalid_request_error"}}, ModelErrorKind.REFUSED),
        ({"code": 400, "message": "no", "type": "invalid_request_error"}, ModelErrorKind.REFUSED),
    ],
)
def test_errors_in_every_shape_inside_a_stream(chunk: dict[str, object], kind: ModelErrorKind) -> None:
    read = Read(CompletionDecoder(PEER), [b"data: " + json.dumps(chunk).encode() + b"\n\n"])
    assert read.error is not None
    assert read.error.kind is kind


def test_half_characters_are_replaced() -> None:
    read = Read(OllamaDecoder(PEER), [b'{"message":{"content":"a\\ud83d"},"done":false}\n'])
    assert read.text(ContentKind.TEXT) == "a\N{REPLACEMENT CHARACTER}"
    read = Read(OllamaDecoder(PEER), [b'{"message":{"content":"a\xff"},"done":false}\n'])
    assert read.text(ContentKind.TEXT) == "a\N{REPLACEMENT CHARACTER}"


def test_a_character_in_two_halves_is_joined_where_they_arrive_together() -> None:
    halves = [
        b'{"message":{"content":"\\ud83d"},"done":false}\n',
        b'{"message":{"content":"\\ude00"},"done":false}\n',
    ]
    read = Read(OllamaDecoder(PEER), [b"".join(halves)])
    assert read.pieces == [(ContentKind.TEXT, "\N{GRINNING FACE}")]


@pytest.mark.parametrize("data", [b"nonsense", b"[1]", b'"text"', b"", b"[" * 100_000, b'{"a":'])
def test_an_event_that_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="not a JSON object") as caught:
        read_object(data, PEER)
    assert caught.value.kind is ModelErrorKind.BROKEN_STREAM


def chunk(*calls: object) -> bytes:
    value = {"choices": [{"delta": {"tool_calls": list(calls)}}]}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def tool_call(index: int | None = None, arguments: str = "", **more: object) -> dict[str, object]:
    function = {"arguments": arguments} | ({"name": more.pop("name")} if "name" in more else {})
    return ({} if index is None else {"index": index}) | {"function": function} | more


def stop_with(reason: str) -> bytes:
    value = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def test_calls_that_are_written_at_the_same_time_are_told_apart() -> None:
    reads = [
        chunk(tool_call(0, "", id="a", name="weather")),
        chunk(tool_call(1, "", id="b", name="time")),
        chunk(tool_call(1, "{"), tool_call(0, '{"city"')),
        chunk(tool_call(0, ":1}"), tool_call(1, "}")),
    ]
    read = Read(CompletionDecoder(PEER), reads)
    assert read.error is None
    assert read.calls == {base.ToolCall("a", "weather"): '{"city":1}', base.ToolCall("b", "time"): "{}"}


def test_calls_without_an_index_or_with_one_for_all_are_told_apart_by_their_ids() -> None:
    for index in (None, 0):
        reads = [chunk(tool_call(index, "{}", id=one, name="weather")) for one in "ab"]
        end = stop_with("tool_calls")
        read = Read(CompletionDecoder(PEER), [reads[0], chunk(tool_call(index, " ", id="a")), reads[1], end])
        assert [(call.call_id, text) for call, text in read.calls.items()] == [("a", "{}"), ("b", "{}")]


def test_an_id_that_is_missing_or_given_twice_is_made_up() -> None:
    reads = [
        chunk(tool_call(0, "{", name="weather"), tool_call(1, "{", id="a", name="weather")),
        chunk(tool_call(2, "{", id="a", name="weather")),
        *(chunk(tool_call(index, "}")) for index in range(3)),
        chunk(tool_call(2, " ", id="a")),
    ]
    read = Read(CompletionDecoder(PEER), reads)
    assert list(read.calls.values()) == ["{}", "{}", "{} "]
    assert all(call.call_id for call in read.calls)
    assert len({call.call_id for call in read.calls}) == 3


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("openai", chunk(tool_call(0, "{}", id="a"))),
        ("claude", b'data: {"type":"content_block_start","content_block":{"type":"tool_use"}}\n\n'),
        ("ollama", b'{"message":{"tool_calls":[{"function":{}}]},"done":false}\n'),
    ],
)
def test_a_call_of_nothing_is_a_broken_answer(name: str, wire: bytes) -> None:
    decoder = FORMATS[name][1](PEER)
    Read(decoder, [wire])
    with pytest.raises(ModelError, match="does not say which") as caught:
        decoder.finish()
    assert caught.value.kind is ModelErrorKind.BROKEN_STREAM


def test_ollamas_ids_are_kept_where_it_gives_them() -> None:
    call = {"id": "call_x", "function": {"name": "time", "arguments": {}}}
    line = json.dumps({"message": {"tool_calls": [call]}, "done": False}).encode()
    assert Read(OllamaDecoder(PEER), [line + b"\n"]).calls == {base.ToolCall("call_x", "time"): "{}"}


def test_a_stop_reason_is_known_before_the_counts_come() -> None:
    decoder = CompletionDecoder(PEER)
    Read(decoder, [b'data: {"choices":[{"delta":{},"finish_reason":"length"}]}\n\n'])
    assert (decoder.is_stopped, decoder.complete) == (True, False)
    assert decoder.finish() == Finished(Finish.LENGTH)


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": []},
        {"choices": None},
        {"choices": ["x"]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {"tool_calls": None}}]},
        {"choices": [{"delta": {"tool_calls": ["x"]}}]},
        {"choices": [{"delta": {"content": 5, "role": "assistant"}}], "usage": "x"},
    ],
)
def test_chunks_without_content_are_passed_over(chunk: dict[str, object]) -> None:
    read = Read(CompletionDecoder(PEER), [b"data: " + json.dumps(chunk).encode() + b"\n\n"])
    assert (read.pieces, read.error) == ([], None)


FACE = "\N{GRINNING FACE}"
FIRST, SECOND = "\ud83d", "\ude00"
QUESTION = '{"q":"'


def _responses(*events: dict[str, Any]) -> bytes:
    return sse(*events, {"type": "response.completed", "response": {"status": "completed"}}, end=b"")


def _lines(*messages: dict[str, Any]) -> bytes:
    lines = [{"message": message, "done": False} for message in messages]
    return b"".join(json.dumps(one).encode() + b"\n" for one in [*lines, {"done": True}])


def _pieces_of_call(*texts: str) -> bytes:
    first = delta(tool_calls=[call("find", "", index=0, id="c")])
    return sse(first, *(delta(tool_calls=[call(arguments=text, index=0)]) for text in texts), stop())


TEXT_IN_HALVES = {
    "chat completions": (CompletionDecoder, sse(*(delta(content=t) for t in ("a" + FIRST, SECOND)), stop())),
    "one piece between them": (
        CompletionDecoder,
        sse(delta(content="a" + FIRST), delta(reasoning="hm"), delta(content=SECOND), stop()),
    ),
    "responses": (
        ResponseDecoder,
        _responses(
            *(
                {"type": "response.output_text.delta", "output_index": 0, "delta": text}
                for text in ("a" + FIRST, SECOND)
            )
        ),
    ),
    "Claude": (
        MessageDecoder,
        claude(piece(type="text_delta", text="a" + FIRST), piece(type="text_delta", text=SECOND)),
    ),
    "Ollama": (OllamaDecoder, _lines({"content": "a" + FIRST}, {"content": SECOND})),
}


@pytest.mark.parametrize("name", TEXT_IN_HALVES)
def test_a_character_whose_halves_come_apart_is_whole(name: str) -> None:
    decoder, wire = TEXT_IN_HALVES[name]
    assert both(decoder, wire).text == f"a{FACE}"


REASONING_IN_HALVES = {
    "chat completions": (
        CompletionDecoder,
        sse(delta(reasoning_content=FIRST), delta(reasoning_content=SECOND), delta(content="x"), stop()),
    ),
    "Claude": (
        MessageDecoder,
        claude(
            piece(type="thinking_delta", thinking=FIRST),
            piece(type="thinking_delta", thinking=SECOND),
            piece(1, type="text_delta", text="x"),
        ),
    ),
    "Ollama": (OllamaDecoder, _lines({"thinking": FIRST}, {"thinking": SECOND}, {"content": "x"})),
}


@pytest.mark.parametrize("name", REASONING_IN_HALVES)
def test_reasoning_is_joined_as_text_is(name: str) -> None:
    decoder, wire = REASONING_IN_HALVES[name]
    assert both(decoder, wire).reasoning == FACE


CALL_IN_HALVES = {
    "chat completions": (CompletionDecoder, _pieces_of_call(QUESTION + FIRST, SECOND + '"}')),
    "a half that is a piece of its own": (CompletionDecoder, _pieces_of_call(QUESTION, FIRST, SECOND, '"}')),
    "Claude": (
        MessageDecoder,
        claude(
            call_start(type="tool_use", id="c", name="find", input={}),
            piece(type="input_json_delta", partial_json=QUESTION + FIRST),
            piece(type="input_json_delta", partial_json=SECOND + '"}'),
            reason="tool_use",
        ),
    ),
    "responses": (
        ResponseDecoder,
        _responses(
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {"type": "function_call", "call_id": "c", "name": "find"},
            },
            *(
                {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": text}
                for text in (QUESTION + FIRST, SECOND + '"}')
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", CALL_IN_HALVES)
def test_arguments_are_joined_as_text_is(name: str) -> None:
    decoder, wire = CALL_IN_HALVES[name]
    assert both(decoder, wire).calls == [("find", '{"q":"' + FACE + '"}')]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a" + FIRST, "b"], "a\ufffdb"),
        (["a", SECOND + "b"], "a\ufffdb"),
        (["a" + FIRST], "a\ufffd"),
        ([FIRST, FIRST, SECOND], "\ufffd" + FACE),
    ],
)
def test_a_half_that_stays_alone_is_replaced(texts: list[str], expected: str) -> None:
    assert both(CompletionDecoder, sse(*(delta(content=text) for text in texts), stop())).text == expected
    assert both(OllamaDecoder, _lines(*({"content": text} for text in texts))).text == expected


def test_signed_thinking_keeps_its_place_behind_a_character_in_halves() -> None:
    wire = claude(
        piece(type="text_delta", text="a" + FIRST),
        piece(type="text_delta", text=SECOND),
        call_start(1, type="thinking", thinking="hm", signature="s"),
        piece(2, type="text_delta", text="b"),
    )
    finished = both(MessageDecoder, wire).finished
    assert finished is not None
    assert json.loads(finished.state)["blocks"][0]["text"] == len(f"a{FACE}")


@pytest.mark.parametrize("name", FORMATS)
@given(answer=ANSWERS, places=st.lists(st.integers(0), max_size=20))
def test_events_that_are_decoded_at_once_say_what_each_one_says(
    writers: dict[str, ModelServer], name: str, answer: Answer, places: list[int]
) -> None:
    frames = writers[name].frames(REQUEST, answer)
    wire = b"".join([frames.first, *frames.tokens, frames.last])
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    reads = [wire[start:end] for start, end in pairwise(edges) if start < end]
    at_once = hear(FORMATS[name][1](PEER), reads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainEvents, "parts", lambda _self, events: [(None, event) for event in events])
        one_by_one = hear(FORMATS[name][1](PEER), reads)
    assert (at_once.text, at_once.reasoning, at_once.finished) == (
        one_by_one.text,
        one_by_one.reasoning,
        one_by_one.finished,
    )
    assert [arguments for _, arguments in at_once.calls] == [text for _, text in one_by_one.calls]
