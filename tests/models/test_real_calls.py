"""Tool calls as real servers write them: one, two, and those that can't be told apart.

Each row is made after a report of another tool's user or after a type of an official SDK.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.answers import both, call, call_start, claude, complete_call, delta, piece, sse, stop

from oblixd.models.base import Finish, ModelErrorKind
from oblixd.models.providers.claude_messages import MessageDecoder
from oblixd.models.providers.completions import CompletionDecoder
from oblixd.models.providers.ollama import OllamaDecoder

BERN = '{"city": "Bern"}'
CET = '{"zone": "CET"}'
SAID = [delta(content="The answer is")]

ONE_CALL = {
    "an empty object before the arguments (gateways to Claude)": [
        delta(tool_calls=[call("weather", "{}", index=0, id="a")]),
        delta(tool_calls=[call(None, '{"city": ', index=0)]),
        delta(tool_calls=[call(None, '"Bern"}', index=0)]),
    ],
    "the same with a space in it": [
        delta(tool_calls=[call("weather", "{ }", index=0, id="a")]),
        delta(tool_calls=[call(None, BERN, index=0)]),
    ],
    "all of the arguments up to there in every piece (DashScope)": [
        delta(tool_calls=[call("weather", text, index=0, id="a")]) for text in ('{"ci', '{"city": "Be', BERN)
    ],
    "the sign of the end as a piece (text-generation-inference)": [
        delta(tool_calls=[call("weather", BERN, index=0, id="")]),
        delta(tool_calls=[call("weather", "<|eot_id|>", index=0, id="")]),
    ],
    "the call in a second choice (GitHub Copilot)": [
        {
            "object": "chat.completion",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "stop"},
                {"index": 1, "message": {"tool_calls": [call("weather", BERN, id="a")]}},
            ],
        }
    ],
    "arguments as an object (ggml-org/llama.cpp#20198)": [
        delta(tool_calls=[call("weather", {"city": "Bern"}, index=0, id="a")])
    ],
    "arguments as a text that is JSON once more": [
        delta(tool_calls=[call("weather", json.dumps(BERN), index=0, id="a")])
    ],
    "name first empty, then late (vercel/ai#14722)": [
        delta(tool_calls=[call("", "", index=0, id="a")]),
        delta(tool_calls=[call("weather", BERN, index=0)]),
    ],
    "arguments before the name": [
        delta(tool_calls=[call(None, '{"city": ', index=0, id="a")]),
        delta(tool_calls=[call("weather", '"Bern"}', index=0)]),
    ],
    "no index (openai/openai-python#3246)": [
        delta(tool_calls=[call("weather", "", id="a")]),
        delta(tool_calls=[call(None, '{"city": ')]),
        delta(tool_calls=[call(None, '"Bern"}')]),
    ],
    "index only in the pieces behind": [
        delta(tool_calls=[call("weather", "", id="a")]),
        delta(tool_calls=[call(None, BERN, index=0)]),
    ],
    "a new id for every piece (vLLM)": [
        delta(tool_calls=[call("weather", "", index=0, id="a")]),
        delta(tool_calls=[call(None, '{"city": ', index=0, id="b")]),
        delta(tool_calls=[call(None, '"Bern"}', index=0, id="c")]),
    ],
    "the name in every piece": [
        delta(tool_calls=[call("weather", text, index=0, id="a")]) for text in ('{"city": ', '"Bern"}')
    ],
    "the name again at the end, without arguments": [
        delta(tool_calls=[call("weather", BERN, index=0, id="a")]),
        delta(tool_calls=[call("weather", "", index=0)]),
    ],
    "the whole call once more at the end": [
        delta(tool_calls=[call("weather", BERN, index=0, id="a")]),
        delta(tool_calls=[call("weather", BERN, index=0, id="a")]),
    ],
    "the whole call once more at the end, spelled in another way": [
        delta(tool_calls=[call("weather", BERN, index=0, id="a")]),
        delta(tool_calls=[call("weather", '{"city":"B\\u0065rn"}', index=0, id="a")]),
    ],
    "the arguments once more at the end, spelled in another way, without id and name": [
        delta(tool_calls=[call("weather", '{"city": ', index=0, id="a")]),
        delta(tool_calls=[call(None, '"Bern"}', index=0)]),
        delta(tool_calls=[call(None, '{"city":"Bern"}', index=0)]),
    ],
    "the arguments once more at the end, as an object": [
        delta(tool_calls=[call("weather", BERN, index=0, id="a")]),
        delta(tool_calls=[call(None, {"city": "Bern"}, index=0, id="a")]),
    ],
    "a message behind the deltas": [
        delta(tool_calls=[call("weather", BERN, index=0, id="a")]),
        {"choices": [{"message": {"tool_calls": [call("weather", BERN, id="a")]}}]},
    ],
    "function_call, as it was": [
        delta(function_call={"name": "weather", "arguments": ""}),
        delta(function_call={"arguments": BERN}),
        stop("function_call"),
    ],
    "name and arguments without a function around": [
        delta(tool_calls=[{"id": "a", "name": "weather", "arguments": {"city": "Bern"}}])
    ],
    "one object in place of the list": [delta(tool_calls=call("weather", BERN, id="a"))],
    "in a whole message": [complete_call({"content": None, "tool_calls": [call("weather", BERN, id="a")]})],
    "a text as id that is none (mistralai ToolCall)": [
        delta(tool_calls=[call("weather", BERN, index=0, id="null")])
    ],
}


@pytest.mark.parametrize("chunks", ONE_CALL.values(), ids=ONE_CALL)
def test_one_call_is_one(chunks: list[dict[str, Any]]) -> None:
    heard = both(CompletionDecoder, sse(*chunks, stop("tool_calls")))
    assert (heard.error, heard.reason) == (None, Finish.TOOL_CALLS)
    assert heard.calls == [("weather", BERN)]
    assert heard.ids[0] not in ("", "null")


def pieces_of(*calls: dict[str, Any]) -> list[dict[str, Any]]:
    """Each piece of a call in an event of its own."""
    return [delta(tool_calls=[one]) for one in calls]


TWO_CALLS = {
    "index 0 for all, no ids (NousResearch/hermes-agent#62940)": pieces_of(
        call("weather", BERN, index=0, id=""), call("clock", CET, index=0, id="")
    ),
    "index 0 for all, with ids (ollama/ollama#15457)": pieces_of(
        call("weather", BERN, index=0, id="a"), call("clock", CET, index=0, id="b")
    ),
    "no index (ollama/ollama#7881)": pieces_of(call("weather", BERN, id="a"), call("clock", CET, id="b")),
    "no index, no ids": pieces_of(call("weather", BERN), call("clock", CET)),
    "no index, both in one event": [delta(tool_calls=[call("weather", BERN), call("clock", CET)])],
    "index 0 for both in one event (mcowger/plexus#691)": [
        delta(tool_calls=[call("weather", BERN, index=0), call("clock", CET, index=0)])
    ],
    "no index, arguments in pieces (SamSaffron/term-llm#314)": pieces_of(
        *(call("weather", "", id="a"), call(None, '{"city": '), call(None, '"Bern"}')),
        *(call("clock", "", id="b"), call(None, '{"zone": '), call(None, '"CET"}')),
    ),
    "index 0 for all, arguments by their ids": pieces_of(
        *(call("weather", "", index=0, id="a"), call("clock", "", index=0, id="b")),
        *(call(None, BERN, index=0, id="a"), call(None, CET, index=0, id="b")),
    ),
    "index 0 for all, arguments in pieces (apache/maka#1976)": pieces_of(
        *(call("weather", '{"city": ', index=0, id="a"), call(None, '"Bern"}', index=0)),
        *(call("clock", '{"zone": ', index=0, id="b"), call(None, '"CET"}', index=0)),
    ),
    "mixed pieces by their index (QwenLM/Qwen-Agent#943)": pieces_of(
        *(call("weather", "", index=0, id="a"), call("clock", "", index=1, id="b")),
        *(call(None, '{"zone": ', index=1), call(None, '{"city": ', index=0)),
        *(call(None, '"CET"}', index=1), call(None, '"Bern"}', index=0)),
    ),
    "no index, mixed pieces side by side": [
        delta(tool_calls=[call("weather", '{"city": ', id="a"), call("clock", '{"zone": ', id="b")]),
        delta(tool_calls=[call(None, '"Bern"}'), call(None, '"CET"}')]),
    ],
    "arguments as objects (ai-dynamo/dynamo#4723)": pieces_of(
        call("weather", {"city": "Bern"}, index=0, id="a"), call("clock", {"zone": "CET"}, index=0, id="b")
    ),
}


@pytest.mark.parametrize("arguments", ["{}", " ", "", "null", None, {}])
def test_a_call_without_arguments_has_an_empty_object(arguments: Any) -> None:
    heard = both(CompletionDecoder, sse(delta(tool_calls=[call("weather", arguments, id="a")]), stop("stop")))
    assert heard.reason is Finish.TOOL_CALLS
    assert [(name, text.strip()) for name, text in heard.calls] == [("weather", "{}")]


@pytest.mark.parametrize("chunks", TWO_CALLS.values(), ids=TWO_CALLS)
def test_two_calls_are_two(chunks: list[dict[str, Any]]) -> None:
    heard = both(CompletionDecoder, sse(*chunks, stop("tool_calls")))
    assert (heard.error, heard.reason) == (None, Finish.TOOL_CALLS)
    assert sorted(heard.calls) == [("clock", CET), ("weather", BERN)]
    assert len(set(heard.ids)) == 2


UNCLEAR = {
    "the arguments of both as one (mcowger/plexus#691)": pieces_of(
        call("weather", BERN + CET, index=0, id="a")
    ),
    "more arguments behind whole ones": pieces_of(
        call("weather", BERN, index=0, id="a"), call(None, CET, index=0)
    ),
    "a name before the arguments before it are whole": pieces_of(
        call("weather", '{"city": ', index=0), call("clock", '{"zone": ', index=0)
    ),
    "a name behind a call without arguments, at one index": pieces_of(
        call("weather", "", index=0), call("clock", CET, index=0)
    ),
    "a call that is never named": pieces_of(call(None, BERN, index=0, id="a")),
    "two open calls and a piece of neither": [
        delta(tool_calls=[call("weather", '{"city": ', id="a"), call("clock", '{"zone": ', id="b")]),
        delta(tool_calls=[call(None, '"Bern"}')]),
    ],
    "a reason to call and no call": SAID,
    "other arguments under the same id": pieces_of(
        call("weather", BERN, index=0, id="a"), call("weather", CET, index=0, id="a")
    ),
}


@pytest.mark.parametrize("chunks", UNCLEAR.values(), ids=UNCLEAR)
def test_calls_that_cant_be_told_apart_are_a_failure(chunks: list[dict[str, Any]]) -> None:
    heard = both(CompletionDecoder, sse(*chunks, stop("tool_calls")))
    assert heard.finished is None
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.BROKEN_STREAM


TOOL = {"type": "tool_use", "id": "toolu_1", "name": "weather"}
CLAUDE_CALLS = {
    "in pieces": [call_start(**TOOL, input={}), piece(type="input_json_delta", partial_json=BERN)],
    "input in the block's start": [call_start(**TOOL, input={"city": "Bern"})],
    "input in the start, and the block is ended": [
        call_start(**TOOL, input={"city": "Bern"}),
        {"type": "content_block_stop", "index": 0},
    ],
    "input in both: the pieces count": [
        call_start(**TOOL, input={"city": "Ber"}),
        piece(type="input_json_delta", partial_json=BERN),
    ],
    "an empty piece first (anthropic InputJSONDelta)": [
        call_start(**TOOL, input={}),
        piece(type="input_json_delta", partial_json=""),
        piece(type="input_json_delta", partial_json=BERN),
    ],
    "input as a text": [call_start(**TOOL, input=BERN)],
}


@pytest.mark.parametrize("events", CLAUDE_CALLS.values(), ids=CLAUDE_CALLS)
def test_calls_of_claude_are_read(events: list[dict[str, Any]]) -> None:
    heard = both(MessageDecoder, claude(*events, reason="tool_use"))
    assert (heard.error, heard.calls, heard.ids) == (None, [("weather", BERN)], ["toolu_1"])


@pytest.mark.parametrize("arguments", [{"city": "Bern"}, BERN])
def test_ollamas_calls_hold_an_object_or_a_text(arguments: Any) -> None:
    line = {"message": {"tool_calls": [call("weather", arguments)]}, "done": True, "done_reason": "stop"}
    for wire in (json.dumps(line).encode() + b"\n", json.dumps(line, indent=1).encode()):
        assert both(OllamaDecoder, wire).calls == [("weather", BERN)]
