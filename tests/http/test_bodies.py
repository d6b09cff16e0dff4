"""Bodies as tools really send them, and what the endpoint keeps of them."""

from __future__ import annotations

import json

import pytest
from oblix.v1 import executions_pb2, messages_pb2
from support.endpoint import MODEL, Served

from oblixd.http.body import compact
from oblixd.http.dialects.messages import Messages
from oblixd.http.dialects.ollama import Chat
from oblixd.http.prompt import Prompt

BROKEN = ('{"city": "Ber', '{"city": "\\ud83d"}', '"Berlin"')
"""Arguments of a call as models write them at a limit of tokens, and by mistake."""
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


@pytest.mark.parametrize("arguments", BROKEN)
@pytest.mark.parametrize("dialect", [Messages(), Chat()], ids=["messages", "ollama"])
def test_a_call_that_a_model_broke_is_told_as_it_is(dialect: Messages | Chat, arguments: str) -> None:
    call = messages_pb2.ToolCallPart(call_id="c1", name="weather", arguments_json=arguments)
    completed = executions_pb2.ExecutionCompleted(
        message=messages_pb2.Message(parts=[messages_pb2.Part(tool_call=call)])
    )
    reply = dialect.reply(Prompt(MODEL, executions_pb2.ExecuteRequest()), "r1")
    reply.complete(completed)
    answer = json.loads(compact(reply.as_object(completed)).encode())
    told = (
        answer["content"][0]["input"]
        if isinstance(dialect, Messages)
        else answer["message"]["tool_calls"][0]["function"]["arguments"]
    )
    assert told == {"invalid_json": arguments}


def test_a_whole_emoji_stays_and_its_bytes_may_be_cut_too(shared_endpoint: Served) -> None:
    shared_endpoint.server.script("Good day.")
    asked = b'{"role": "user", "content": "\\ud83d\\ude00 \xed\xa0\xbd \xed\x95\x9c"}'
    body = b'{"model": "%s", "messages": [%s]}' % (MODEL.encode(), asked)
    shared_endpoint.http().post("/v1/chat/completions", content=body).raise_for_status()
    assert shared_endpoint.server.requests[-1].body["messages"][-1]["content"] == "😀 \ufffd \ud55c"
