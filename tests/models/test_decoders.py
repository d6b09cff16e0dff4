"""Each wire format reads the same, wherever the network cut it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix.testing import Answer, ClaudeServer, ModelServer, OllamaServer, OpenAIServer

from oblixd.models.answers import Decoder, gather, read_object
from oblixd.models.base import ContentKind, Finish, Finished, ModelError, ModelErrorKind
from oblixd.models.claude import MessageDecoder
from oblixd.models.failures import Peer
from oblixd.models.ollama import OllamaDecoder
from oblixd.models.openai import CompletionDecoder

PEER = Peer("The server", "http://there")
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
        self.error: ModelError | None = None
        for read in reads:
            contents, self.error = gather(decoder.pieces(read), PEER)
            self.pieces += [(one.kind, one.text) for one in contents]
            if self.error or decoder.complete:
                break

    def text(self, kind: ContentKind) -> str:
        return "".join(text for one, text in self.pieces if one is kind)


@pytest.fixture(scope="module")
def writers() -> Iterator[dict[str, ModelServer]]:
    """The test servers, for the frames that they write."""
    with ExitStack() as running:
        yield {name: running.enter_context(server()) for name, (server, _) in FORMATS.items()}


ANSWERS = st.builds(Answer, TEXTS, TEXTS, finish=st.sampled_from(["stop", "length"]))


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
    spoken = len(answer.tokens) + len(answer.reasoning_tokens)
    assert decoder.finished() == Finished(Finish(answer.finish), 2, spoken)


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


def test_a_stop_reason_is_known_before_the_counts_come() -> None:
    decoder = CompletionDecoder(PEER)
    Read(decoder, [b'data: {"choices":[{"delta":{},"finish_reason":"length"}]}\n\n'])
    assert (decoder.stopped, decoder.complete) == (True, False)
    assert decoder.finished() == Finished(Finish.LENGTH)


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": []},
        {"choices": None},
        {"choices": ["x"]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {"content": 5, "role": "assistant"}}], "usage": "x"},
    ],
)
def test_chunks_without_content_are_passed_over(chunk: dict[str, object]) -> None:
    read = Read(CompletionDecoder(PEER), [b"data: " + json.dumps(chunk).encode() + b"\n\n"])
    assert (read.pieces, read.error) == ([], None)
