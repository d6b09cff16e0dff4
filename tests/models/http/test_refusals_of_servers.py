"""Whole refusals as servers, gateways and clouds send them, each with what kind it is.

The rows are made after their documentations and after reports of users, with values of our own. Those with
status 200 come in place of an answer, over a real socket.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from support.drivers.model_requests import ask
from support.servers.providers import KINDS
from support.servers.raw_server import HEAD, playing, refusal

from oblixd.models.base import Connection, ModelErrorKind
from oblixd.models.http.server import ServerErrors

SERVER = ServerErrors(title="The endpoint", endpoint="http://127.0.0.1:1")
DATA = Path(support.__path__[0]) / "data" / "refusals_of_servers.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
REFUSED = [row for row in ROWS if row["status"] != 200]
IN_PLACE_OF_ANSWERS = [row for row in ROWS if row["status"] == 200]
KIND = KINDS["custom"]


def body_of(row: dict[str, Any]) -> bytes:
    body = row["body"]
    return body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()


def name_of(row: dict[str, Any]) -> str:
    return f"{row['status']} {str(row['body'])[:60]}"


@pytest.mark.parametrize("row", REFUSED, ids=name_of)
def test_a_refusal_is_known_for_what_it_is(row: dict[str, Any]) -> None:
    error = SERVER.error_response(row["status"], {}, body_of(row), "http://127.0.0.1:1/v1")
    assert error.kind is ModelErrorKind[row["kind"]]
    assert row["words"] in error.message


async def test_a_good_status_does_not_hide_a_refusal(connections: Callable[[Connection], Connection]) -> None:
    assert len(IN_PLACE_OF_ANSWERS) > 40
    async with playing(*(refusal(200, body_of(row)) for row in IN_PLACE_OF_ANSWERS)) as server:
        connection = connections(KIND.connect(KIND.spec(server.url)))
        for row in IN_PLACE_OF_ANSWERS:
            heard = await ask(connection)
            assert heard.error is not None, row
            assert heard.error.kind is ModelErrorKind[row["kind"]], (row, heard.error.message)
            assert row["words"] in heard.error.message


async def test_when_to_come_back_is_read_beside_a_good_status(
    connections: Callable[[Connection], Connection],
) -> None:
    head = HEAD.replace(b"Connection", b"Retry-After: 7\r\nConnection")
    async with playing(
        [head, b'{"Response":{"Error":{"Code":"LimitExceeded","Message":"Wait a bit."}}}']
    ) as server:
        error = (await ask(connections(KIND.connect(KIND.spec(server.url))))).error
    assert error is not None
    assert (error.kind, error.retry_after_s) == (ModelErrorKind.RATE_LIMITED, 7.0)
    assert "Wait a bit. Wait 7 s, as it asks" in error.message


async def test_an_answer_that_is_cut_before_its_first_word_is_no_refusal(
    connections: Callable[[Connection], Connection],
) -> None:
    begun = b'data: {"choices":[{"delta":{"role":"assistant"}}],"message":"rate limit exceeded"}\n\n'
    async with playing([HEAD, begun]) as server:
        error = (await ask(connections(KIND.connect(KIND.spec(server.url))))).error
    assert error is not None
    assert error.kind is ModelErrorKind.BROKEN_STREAM
