"""Heads and bodies as gateways send them: long headers, compression that nobody asked for, false types."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable

import brotli
import pytest
from support.drivers.model_requests import ask
from support.servers.providers import KINDS
from support.servers.raw_server import CHUNKS, playing

from oblixd.models.base import Connection, ModelErrorKind
from oblixd.models.http import unpacking
from oblixd.models.http.unpacking import STEP_BYTES, Unpacker, UnpackError

KIND = KINDS["custom"]
PACKED = {
    "gzip": gzip.compress(CHUNKS),
    "x-gzip": gzip.compress(CHUNKS),
    "deflate": zlib.compress(CHUNKS),
    "Deflate": zlib.compress(CHUNKS)[2:-4],
    "br": brotli.compress(CHUNKS),
    "none": CHUNKS,
    "identity": CHUNKS,
    "": CHUNKS,
}
Connections = Callable[[Connection], Connection]


def head(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "Connection: close", "", ""]).encode()


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("cut", [3, 10_000])
async def test_a_compressed_answer(encoding: str, cut: int, connections: Connections) -> None:
    packed = PACKED[encoding]
    pieces = [packed[at : at + cut] for at in range(0, len(packed), cut)]
    async with playing(
        [head("Content-Type: text/event-stream", f"Content-Encoding: {encoding}"), *pieces]
    ) as server:
        heard = await ask(connections(KIND.connect(KIND.spec(server.url))))
    assert (heard.text, heard.error) == ("Hello", None)


@pytest.mark.parametrize("status", [200, 201, 203])
async def test_any_good_status_begins_an_answer(status: int, connections: Connections) -> None:
    good = head("Content-Type: text/event-stream").replace(b"200", str(status).encode(), 1)
    async with playing([good, CHUNKS]) as server:
        heard = await ask(connections(KIND.connect(KIND.spec(server.url))))
    assert (heard.text, heard.error) == ("Hello", None)


@pytest.mark.parametrize(
    ("body", "words"), [(b"", "it sent nothing"), (b"OK", "began with 'OK'"), (b'{"hello": 1}', "hello")]
)
async def test_a_body_that_is_no_answer_is_quoted(body: bytes, words: str, connections: Connections) -> None:
    async with playing([head("Content-Type: application/json"), body]) as server:
        heard = await ask(connections(KIND.connect(KIND.spec(server.url))))
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.BROKEN_STREAM
    assert words in heard.error.message


@pytest.mark.parametrize(
    ("encoding", "body", "words"),
    [
        ("zstd", b"x", "zstd"),
        ("gzip, br", b"x", "gzip, br"),
        ("gzip", b"this is no gzip", "can't be unpacked"),
        ("br", b"\xff\xff\xff\xff this is none", "can't be unpacked"),
        ("gzip", gzip.compress(CHUNKS, mtime=0)[:40], "ends in the middle"),
    ],
    ids=["zstd", "two", "no gzip", "no brotli", "cut"],
)
async def test_a_body_that_is_not_what_it_says(
    encoding: str, body: bytes, words: str, connections: Connections
) -> None:
    async with playing([head(f"Content-Encoding: {encoding}"), body]) as server:
        heard = await ask(connections(KIND.connect(KIND.spec(server.url))))
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.BROKEN_STREAM
    assert words in heard.error.message


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress)]
)
def test_a_body_is_unpacked_in_steps(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    for data in (bytes(5_000_000), os.urandom(1_000_000), b"", b"x"):
        unpacker, unpacked = Unpacker(encoding), 0
        unpacker.feed(pack(data))
        while step := unpacker.next_step():
            assert len(step) <= 2 * STEP_BYTES
            unpacked += len(step)
        unpacker.check_end()
        assert unpacked == len(data)


def test_a_bomb_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_BYTES", 1_000_000)
    unpacker = Unpacker("gzip")
    unpacker.feed(gzip.compress(bytes(2_000_000)))
    with pytest.raises(UnpackError, match="more than"):
        list(iter(unpacker.next_step, b""))


async def test_headers_that_are_too_long_are_a_failure(connections: Connections) -> None:
    lines = (
        "Content-Type: text/event-stream",
        f"Content-Security-Policy: {'p' * 60_000}",
        f"X: {'x' * 20_000}",
    )
    async with playing([head(*lines), CHUNKS]) as server:
        assert (await ask(connections(KIND.connect(KIND.spec(server.url))))).text == "Hello"


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n\n", b": ping\n\n", b"event: x\n"])
async def test_an_event_stream_that_is_called_a_page(before: bytes, connections: Connections) -> None:
    answer = [head("Content-Type: text/html; charset=utf-8"), before, 0.01, CHUNKS]
    async with playing(answer) as server:
        heard = await ask(connections(KIND.connect(KIND.spec(server.url))))
    assert (heard.text, heard.error) == ("Hello", None)


@pytest.mark.parametrize("page", [b"<html>Log in</html>", b"", b"\n\n  <!DOCTYPE html>", b"Welcome"])
async def test_a_page_is_still_a_page(page: bytes, connections: Connections) -> None:
    async with playing([head("Content-Type: text/html"), page]) as server:
        error = (await ask(connections(KIND.connect(KIND.spec(server.url))))).error
    assert error is not None
    assert "web page" in error.message
