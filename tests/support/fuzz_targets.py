"""Every parser of foreign bytes, each as a function of bytes that must return, or raise what is documented.

Whatever else comes out of one is a defect. `tests/fuzz` replays the kept inputs, and looks for new ones.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from google.protobuf.message import DecodeError
from oblix.formats import reading
from oblix.v1 import executions_pb2, messages_pb2, sessions_pb2

from oblixd.config import loader
from oblixd.errors import OblixdError
from oblixd.http import body as http_body
from oblixd.http.dialects import chat, messages, ollama, responses
from oblixd.models.base import ModelError
from oblixd.models.hook_spec import spec_of
from oblixd.models.http.event_stream import EventSplitter, LineSplitter, TooLongError
from oblixd.models.http.rate_limit import RateLimit, reset_s
from oblixd.models.http.refusals import Refusal, judge
from oblixd.models.providers.claude_messages import MessageDecoder
from oblixd.models.providers.completions import CompletionDecoder
from oblixd.models.providers.ollama import OllamaDecoder, server_errors_of
from oblixd.models.providers.responses import ResponseDecoder
from oblixd.models.streaming import gather
from oblixd.sessions.listing import page_position, page_token
from oblixd.sessions.storage.records import join_parts, message_from, message_record
from oblixd.sessions.validation import check_message
from oblixd.store.table import add_checksum
from oblixd.store.v1 import records_pb2 as records

PEER = server_errors_of(spec_of("ollama", "fuzzed", endpoint="http://127.0.0.1:1"))
FILE = Path(tempfile.gettempdir()) / f"oblix-fuzz-{os.getpid()}"


def _reads(data: bytes) -> list[bytes]:
    """The same bytes as a network may cut them: the first byte says into how many reads."""
    step = max(len(data) // (1 + (data[0] % 5 if data else 0)), 1)
    return [data[start : start + step] for start in range(0, len(data), step)]


def _same_however_cut(splitter: type[EventSplitter] | type[LineSplitter], data: bytes) -> None:
    """Reads that end anywhere give the same events."""
    whole, cut = splitter(), splitter()
    at_once = whole.feed(data)
    in_parts = [one for read in _reads(data) for one in cut.feed(read)]
    assert at_once == in_parts, "a read's end changed what was read"


def imports(data: bytes) -> None:
    """A file of conversations, of whatever format its content looks like."""
    FILE.write_bytes(data)
    try:
        for read in reading.read_file(FILE, None):
            # Neither: nobody said anything in it.
            assert read.problem is None or read.conversation is None
    finally:
        FILE.unlink()


def streams(data: bytes) -> None:
    """What a model's server streams: server-sent events of three formats, and lines of JSON."""
    with suppress(TooLongError):
        _same_however_cut(EventSplitter, data)
        _same_however_cut(LineSplitter, data)
    for decoder in (
        CompletionDecoder(PEER),
        ResponseDecoder(PEER),
        MessageDecoder(PEER),
        OllamaDecoder(PEER),
    ):
        for read in [*_reads(data), b""]:
            contents, failure = gather(decoder.pieces(read), PEER)
            assert all(isinstance(content.text, str) for content in contents)
            if failure is not None or decoder.complete:
                break
        if decoder.complete or decoder.is_stopped:
            with suppress(ModelError):
                decoder.finish()


def refusals(data: bytes) -> None:
    """What a model's server answers in place of an answer: its head and its body."""
    head, _, rest = data.partition(b"\n\n")
    headers = dict(
        line.split(": ", 1) for line in head.decode("latin-1").splitlines() if line.count(": ") == 1
    )
    status = 400 + (data[0] if data else 0)
    judge(Refusal.read(status, headers, rest))
    RateLimit().heard(status, headers)
    reset_s(head.decode("utf-8", "replace"))


def page_tokens(data: bytes) -> None:
    """A page token that a client sends back. None but our own is taken."""
    query, _, token = data.partition(b"\n")
    with suppress(OblixdError):
        place = page_position(query, text := token.decode("utf-8", "surrogateescape"))
        assert not text or page_token(query, place) == text


def configuration(data: bytes) -> None:
    """A configuration file."""
    with suppress(OblixdError):
        loader.parse(data.decode("utf-8", "replace"), Path("config.toml"))


def store_records(data: bytes) -> None:
    """A record out of the store whose checksum holds although its bytes are odd: reads name it as damage."""
    add_checksum(b"key", data)
    with suppress(DecodeError, UnicodeDecodeError, OblixdError):
        record = records.MessageRecord.FromString(data)
        record.parts.extend(join_parts(record.parts))
        message_from(record, 1)
    with suppress(DecodeError, OblixdError):
        records.ProgressRecord.FromString(data)
        records.PieceRecord.FromString(data)


def requests(data: bytes) -> None:
    """A request of the contract, as far as its bytes can be read."""
    with suppress(DecodeError, OblixdError):
        message = messages_pb2.Message.FromString(data)
        check_message(message, "message")
        message_from(message_record(message), 1)
    for kind in (executions_pb2.ExecuteRequest, sessions_pb2.ListSessionsRequest):
        with suppress(DecodeError):
            kind.FromString(data)


def http_bodies(data: bytes) -> None:
    """The body of a request at the HTTP endpoint, in each of its dialects."""
    for dialect in (
        chat.ChatCompletions(),
        responses.Responses(),
        messages.Messages(),
        ollama.Chat(),
        ollama.Generate(),
    ):
        with suppress(OblixdError):
            dialect.prompt(http_body.parse(data))


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        *(imports, streams, refusals, page_tokens),
        *(configuration, store_records, requests, http_bodies),
    )
}
