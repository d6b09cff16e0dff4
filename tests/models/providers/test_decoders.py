"""Each wire format reads the same, wherever the network cut it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix.testing import Answer, ClaudeServer, ModelServer, OllamaServer, OpenAIServer, ToolCall

from oblixd.models import base
from oblixd.models.base import ContentKind, Finish, Finished, ModelError, ModelErrorKind, TokenCounts
from oblixd.models.http.server import ServerErrors
from oblixd.models.providers.claude_messages import MessageDecoder
from oblixd.models.providers.completions import CompletionDecoder
from oblixd.models.providers.ollama import OllamaDecoder
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


def test_what_arrives_together_leaves_together() -> None:
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
    assert read.pieces == [(ContentKind.TEXT, "a\N{REPLACEMENT CHARACTER}")]
    read = Read(OllamaDecoder(PEER), [b'{"message":{"content":"a\xff"},"done":false}\n'])
    assert read.pieces == [(ContentKind.TEXT, "a\N{REPLACEMENT CHARACTER}")]


def test_a_character_in_two_halves_is_joined_where_they_arrive_together() -> None:
    halves = [
        b'{"message":{"content":"\\ud83d"},"done":false}\n',
        b'{"message":{"content":"\\ude00"},"done":false}\n',
    ]
    read = Read(OllamaDecoder(PEER), [b"".join(halves)])
    assert read.pieces == [(ContentKind.TEXT, "\N{GRINNING FACE}")]


@pytest.mark.parametrize("data", [b"nonsense", b"[1]", b'"text"', b"", b"[" * 100_000, b'{"a":'])
def test_what_is_no_object_is_refused(data: bytes) -> None:
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
