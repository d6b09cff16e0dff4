"""Bodies as tools really send them, and what the endpoint keeps of them."""

from __future__ import annotations

import pytest
from support.endpoint import MODEL, Served

PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
def test_half_of_an_emoji_is_no_defect(shared_endpoint: Served, path: str, *, stream: bool) -> None:
    """JavaScript cuts text by UTF-16 units, and writes what is left of an emoji as `\\ud83d`."""
    shared_endpoint.server.script("Good day.")
    asked = '{"role": "user", "content": "cut \\ud83d"}'
    text = (
        f'{{"model": "{MODEL}", "stream": {str(stream).lower()}, "max_tokens": 9, "instructions": "\\ud83d",'
        f'"messages": [{asked}], "input": [{asked}]}}'
    )
    reply = shared_endpoint.http().post(path, content=text, headers={"Content-Type": "application/json"})
    assert reply.status_code == 200, reply.text
    assert "Good" in reply.text
    assert shared_endpoint.server.requests[-1].body["messages"][-1]["content"] == "cut \ufffd"


def test_a_body_of_many_levels_is_no_defect_either(shared_endpoint: Served) -> None:
    levels = 600  # as many as the parser takes, and more than Python goes through
    for text in ("cut", "cut \\ud83d"):
        deep = "[" * levels + f'"{text}"' + "]" * levels
        body = f'{{"model": "{MODEL}", "messages": [{{"role": "user", "content": "Hi."}}], "other": {deep}}}'
        reply = shared_endpoint.http().post("/v1/chat/completions", content=body)
        assert reply.status_code in {200, 400}, reply.text


def test_a_whole_emoji_stays_and_its_bytes_may_be_cut_too(shared_endpoint: Served) -> None:
    shared_endpoint.server.script("Good day.")
    asked = b'{"role": "user", "content": "\\ud83d\\ude00 \xed\xa0\xbd \xed\x95\x9c"}'
    body = b'{"model": "%s", "messages": [%s]}' % (MODEL.encode(), asked)
    shared_endpoint.http().post("/v1/chat/completions", content=body).raise_for_status()
    assert shared_endpoint.server.requests[-1].body["messages"][-1]["content"] == "😀 \ufffd \ud55c"
