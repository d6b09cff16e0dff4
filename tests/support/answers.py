"""What real servers write, and what a decoder makes of it: the words of the tables of real answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from oblixd.models.base import ContentKind, Finish, Finished, ModelError
from oblixd.models.http.server import ServerErrors
from oblixd.models.streaming import Decoder, HalfCharacters, Speech, gather

PEER = ServerErrors("The server", "http://there")
DONE = b"data: [DONE]\n\n"


@dataclass
class Heard:
    """What came of an answer."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    finished: Finished | None = None
    error: ModelError | None = None

    @property
    def reason(self) -> Finish | None:
        return self.finished.reason if self.finished else None


def hear(decoder: Decoder, reads: list[bytes]) -> Heard:
    """Read an answer as `answers.answer` does, without a network."""
    heard, speech, arguments = Heard(), Speech(lambda _tag: False), {}
    halves = HalfCharacters()
    try:
        for read in [*reads, b""]:
            contents, failure = gather(decoder.pieces(read), PEER, halves)
            is_end = decoder.complete or failure is not None or not read
            contents += halves.rest() if is_end else []
            for content in [*speech.without_leading_blanks(contents), *(speech.rest() if is_end else ())]:
                if content.call is not None:
                    arguments[content.call] = arguments.get(content.call, "") + content.text
                elif content.kind is ContentKind.TEXT:
                    heard.text += content.text
                else:
                    heard.reasoning += content.text
            if failure is not None and not decoder.is_stopped:
                raise failure
            if failure is not None or decoder.complete:
                break
        if not (decoder.complete or decoder.is_stopped):
            raise PEER.broken_stream("it ended without saying that it was done")
        finished = decoder.finish()
        speech.check(finished.reason, PEER)
        heard.finished = finished
    except ModelError as error:
        heard.error = error
    heard.calls = [(call.name, text) for call, text in arguments.items()]
    heard.ids = [call.call_id for call in arguments]
    return heard


def both(decoder: Callable[[ServerErrors], Decoder], wire: bytes) -> Heard:
    """Read it whole, and byte by byte; give what came, which is the same."""
    whole = hear(decoder(PEER), [wire])
    single = hear(decoder(PEER), [wire[place : place + 1] for place in range(len(wire))])
    assert (single.text, single.reasoning, single.calls) == (whole.text, whole.reasoning, whole.calls)
    assert (single.reason, str(single.error)) == (whole.reason, str(whole.error))
    return whole


def sse(*values: Any, end: bytes = DONE) -> bytes:
    return b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values) + end


def delta(**fields: Any) -> dict[str, Any]:
    return choice(0, **fields)


def choice(index: int, **fields: Any) -> dict[str, Any]:
    """A piece of one of several answers."""
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": index, "delta": fields, "finish_reason": None}],
    }


def stop(reason: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason, **more}]}


def complete_call(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return {"object": "chat.completion", "choices": [choice], **more}


def call(name: str | None = None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**more, "function": function}


def block(text: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"type": kind, kind: text, **more}


def claude(*events: dict[str, Any], reason: str = "end_turn") -> bytes:
    """A message's events, between its head and its end."""
    head = {
        "type": "message_start",
        "message": {"content": [], "usage": {"input_tokens": 3, "output_tokens": 1}},
    }
    end = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}}
    return sse(head, *events, end, {"type": "message_stop"}, end=b"")


def call_start(index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": fields}


def piece(index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": fields}
