"""Answers as real servers write them: one table for each kind, with the report that it comes from.

Each row is an input of its own, made after a report of another tool's user or after a type of an
official SDK. It is read as a whole and in single bytes: that makes no difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from oblix.v1 import messages_pb2
from support.answers import (
    DONE,
    block,
    both,
    call_start,
    choice,
    claude,
    complete_call,
    delta,
    piece,
    sse,
    stop,
)
from support.drivers.model_requests import ask, chat, message, question
from support.servers.providers import KINDS
from support.servers.raw_server import HEAD, playing

from oblixd.models.base import Connection, Finish, ModelErrorKind, TokenCounts
from oblixd.models.providers.claude_messages import MessageDecoder
from oblixd.models.providers.completions import CompletionDecoder
from oblixd.models.providers.ollama import OllamaDecoder

HELLO = [delta(content="Hel"), delta(content="lo"), stop()]
TEXTS = {
    "blocks of text (openclaw/openclaw#68418)": sse(delta(content=[block("Hel"), block("lo")]), stop()),
    "a block's text in an object (OpenAI's older threads)": sse(
        delta(content=[{"type": "text", "text": {"value": "Hello", "annotations": []}}]), stop()
    ),
    "an object in place of a list": sse(delta(content=block("Hello")), stop()),
    "references beside the text (mistralai ReferenceChunk)": sse(
        delta(content=[block("Hel"), {"type": "reference", "reference_ids": [1]}]),
        delta(content="lo"),
        stop(),
    ),
    "output_text, as the Responses API calls it": sse(
        delta(content=[{"type": "output_text", "text": "Hello"}]), stop()
    ),
    "message in place of delta, whole (Amm1rr/WebAI-to-API#55)": sse(
        {
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
            ]
        }
    ),
    "message in place of delta, in pieces": sse(
        {"choices": [{"message": {"content": "Hel"}}]}, {"choices": [{"message": {"content": "lo"}}]}, stop()
    ),
    "message in place of delta, growing (swuecho/chat#687)": sse(
        *({"choices": [{"message": {"content": text}}]} for text in ("He", "Hell", "Hello")), stop()
    ),
    "delta and the message so far beside it (Perplexity)": sse(
        *(
            {"choices": [{"delta": {"content": new}, "message": {"content": all_}}]}
            for new, all_ in (("Hel", "Hel"), ("lo", "Hello"))
        ),
        stop(),
    ),
    "a completion as one event (Amm1rr/WebAI-to-API#55)": sse(complete_call({"content": "Hello"})),
    "a completion as one event, and nothing behind it": sse(complete_call({"content": "Hello"}), end=b""),
    "blocks in a whole message (akaihola in simonw/llm-mistral#39)": json.dumps(
        complete_call({"content": [block("Hello")]})
    ).encode(),
    "a document, tabs in front (continuedev/continue#1108)": json.dumps(
        complete_call({"content": "Hello"}), indent="\t"
    ).encode(),
    "a document behind the blank lines that keep the connection (DeepSeek's docs)": b"\n\n\n"
    + json.dumps(complete_call({"content": "Hello"}), indent=2).encode(),
    "a document with a byte order mark": b"\xef\xbb\xbf"
    + json.dumps(complete_call({"content": "Hello"})).encode(),
    "a document that names no reason for its end": json.dumps(
        {"object": "chat.completion", "choices": [{"message": {"content": "Hello"}}]}
    ).encode(),
    "response in place of choices (Cloudflare Workers AI)": sse(
        {"response": "Hel", "p": "abcdef"}, {"response": "lo"}, {"response": "", "usage": {"total_tokens": 3}}
    ),
    "a text in place of the delta": sse({"choices": [{"index": 0, "delta": "Hello"}]}, stop()),
    "another choice in chunks of its own (n=2)": sse(
        delta(content="Hel"),
        choice(1, content="Good"),
        choice(1, content="bye"),
        delta(content="lo"),
        {"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]},
        stop(),
    ),
    "another choice that begins first, without text (n=2)": sse(
        choice(1, role="assistant"),
        delta(role="assistant", content=""),
        delta(content="Hel"),
        choice(1, content="Bye"),
        delta(content="lo"),
        stop(),
    ),
    "the one choice is counted from 1": sse(
        choice(1, content="Hel"),
        choice(1, content="lo"),
        {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]},
    ),
    "text beside each delta (Together)": sse(
        *({"choices": [{"text": one, "delta": {"content": one}}]} for one in ("Hel", "lo")), stop()
    ),
    "the end in quotes": sse(delta(content="Hello"), stop(), end=b'data: "[DONE]"\n\n'),
    "text, as the older completions have it": sse({"choices": [{"text": "Hello", "finish_reason": "stop"}]}),
    "a transcript of speech (openai ChoiceDeltaAudio)": sse(
        delta(audio={"id": "a", "transcript": "Hel"}), delta(audio={"transcript": "lo"}), stop()
    ),
}


@pytest.mark.parametrize("wire", TEXTS.values(), ids=TEXTS)
def test_text_is_read_wherever_servers_put_it(wire: bytes) -> None:
    heard = both(CompletionDecoder, wire)
    assert (heard.text, heard.reason, heard.error) == ("Hello", Finish.STOP, None)


THOUGHTS = {
    "blocks of thinking (symfony/ai#2422)": delta(
        content=[{"type": "thinking", "thinking": [block("Hm.")], "closed": True}, block("Hello")]
    ),
    "thinking as a text in its block": delta(content=[block("Hm.", "thinking"), block("Hello")]),
    "reasoning": delta(reasoning="Hm.", content="Hello"),
    "reasoning under two names at once (vLLM)": delta(
        reasoning="Hm.", reasoning_content="Hm.", content="Hello"
    ),
    "reasoning_text (Copilot)": delta(reasoning_text="Hm.", content="Hello"),
    "thinking": delta(thinking="Hm.", content="Hello"),
    "reasoning_details alone (MiniMax)": delta(
        reasoning_details=[{"type": "reasoning.text", "text": "Hm.", "index": 0}], content="Hello"
    ),
    "a summary in reasoning_details (OpenRouter)": delta(
        reasoning_details=[{"type": "reasoning.summary", "summary": "Hm."}], content="Hello"
    ),
    "reasoning as an object": delta(reasoning={"content": "Hm."}, content="Hello"),
    "in a whole message": complete_call({"reasoning_content": "Hm.", "content": "Hello"}),
}


@pytest.mark.parametrize("chunk", THOUGHTS.values(), ids=THOUGHTS)
def test_reasoning_is_no_text(chunk: dict[str, Any]) -> None:
    heard = both(CompletionDecoder, sse(chunk, stop()))
    assert (heard.reasoning, heard.text, heard.error) == ("Hm.", "Hello", None)


INLINE = {
    "<think>Hm.</think>\n\nHello": ("Hm.", "Hello"),
    "\n<think>\nHm.</think>Hello": ("\nHm.", "Hello"),
    "<thinking>Hm.</thinking> Hello": ("Hm.", "Hello"),
    "<thought>Hm. < 4</thought>Hello": ("Hm. < 4", "Hello"),
    "<think></think>Hello": ("", "Hello"),
    "<think>Hm.</think>Hello </think> there": ("Hm.", "Hello </think> there"),
    "Write <think> first": ("", "Write <think> first"),
    "<thin": ("", "<thin"),
    " <": ("", " <"),
    "<think>Hm.": ("Hm.", ""),
    "<thank>you": ("", "<thank>you"),
}
"""Text of answers whose server has no parser for reasoning: what is reasoning, and what is text."""


@pytest.mark.parametrize("text", INLINE)
def test_reasoning_in_tags_at_the_beginning_is_no_text(text: str) -> None:
    pieces = [sse(delta(content=one), end=b"") for one in text]
    for wire in (sse(delta(content=text), stop()), b"".join(pieces) + sse(stop())):
        heard = both(CompletionDecoder, wire)
        assert (heard.reasoning, heard.text) == INLINE[text]
        assert (heard.error is None) == bool(heard.text)


@pytest.mark.parametrize("role", [messages_pb2.ROLE_SYSTEM, messages_pb2.ROLE_USER])
@pytest.mark.parametrize("text", ["<thinking>Hm.</thinking>Hello", "<think> is a tag of DeepSeek's."])
async def test_a_tag_that_the_prompt_names_is_part_of_the_text(
    text: str, role: messages_pb2.Role.ValueType, connections: Callable[[Connection], Connection]
) -> None:
    tag = text[: text.index(">") + 1]
    other = message(messages_pb2.ROLE_ASSISTANT, f"{tag}Hm.</think>Hello")
    prompts = [
        chat([message(role, f"Begin with {tag}."), other, *question().messages]),
        chat([*question().messages, other, *question().messages]),
    ]
    async with playing([HEAD, sse(delta(content=text), stop())]) as server:
        connection = connections(KINDS["custom"].connect(KINDS["custom"].spec(server.url)))
        named, unnamed = [await ask(connection, prompt) for prompt in prompts]
    assert (named.reasoning, named.text, named.error) == ("", text, None)
    assert unnamed.reasoning.strip(), "what a model wrote before names no tag"


CLAUDE_TEXTS = {
    "in the block's start": claude(call_start(type="text", text="Hello")),
    "in the start and in deltas": claude(
        call_start(type="text", text="Hel"), piece(type="text_delta", text="lo")
    ),
    "thinking in the block's start": claude(
        call_start(type="thinking", thinking="Hm."), call_start(1, type="text", text="Hello")
    ),
    "citations between (anthropic CitationsDelta)": claude(
        call_start(type="text", text=""),
        piece(type="text_delta", text="Hel"),
        piece(type="citations_delta", citation={"cited_text": "x"}),
        piece(type="text_delta", text="lo"),
    ),
    "a search of the server's own before it (anthropic ServerToolUseBlock)": claude(
        call_start(type="server_tool_use", id="s", name="web_search", input={}),
        piece(type="input_json_delta", partial_json='{"query": "x"}'),
        call_start(1, type="web_search_tool_result", tool_use_id="s", content=[]),
        call_start(2, type="text", text="Hello"),
    ),
    "a document": json.dumps(
        {
            "type": "message",
            "content": [block("Hello")],
            "stop_reason": "end_turn",
            "usage": {"output_tokens": 2},
        }
    ).encode(),
    "an indented document": json.dumps(
        {"type": "message", "content": [block("Hello")], "stop_reason": "end_turn"}, indent=2
    ).encode(),
    "in the head, whole": sse(
        {"type": "message_start", "message": {"content": [block("Hello")], "stop_reason": "end_turn"}},
        {"type": "message_stop"},
        end=b"",
    ),
    "empty deltas between (BerriAI/litellm#33315)": claude(
        call_start(type="text", text=""),
        piece(type="text_delta", text=""),
        piece(type="text_delta", text="Hello"),
        piece(),
    ),
    "[DONE] behind it": claude(call_start(type="text", text="Hello")) + DONE,
}


@pytest.mark.parametrize("wire", CLAUDE_TEXTS.values(), ids=CLAUDE_TEXTS)
def test_claudes_text_is_read_wherever_it_stands(wire: bytes) -> None:
    heard = both(MessageDecoder, wire)
    assert (heard.text, heard.reason, heard.error) == ("Hello", Finish.STOP, None)


@pytest.mark.parametrize(
    "chunks",
    [
        [delta(refusal="I can't."), stop()],
        [delta(content=None, refusal="I "), delta(refusal="can't."), stop()],
        [complete_call({"content": None, "refusal": "I can't."})],
        [delta(content="I can't."), stop("content_filter")],
    ],
)
def test_a_refusal_is_read_and_is_no_plain_answer(chunks: list[dict[str, Any]]) -> None:
    heard = both(CompletionDecoder, sse(*chunks))
    assert (heard.text, heard.reason) == ("I can't.", Finish.CONTENT_FILTER)


EMPTY = {
    "nothing but [DONE] (open-legal-products/mike#379)": (CompletionDecoder, DONE),
    "a stop and no word (earendil-works/pi#8462)": (CompletionDecoder, sse(stop())),
    "a role and no word (openclaw/openclaw#91403)": (
        CompletionDecoder,
        sse(delta(role="assistant", content=""), stop()),
    ),
    "null content (mario-andreschak/FLUJO#312)": (CompletionDecoder, sse(delta(content=None), stop())),
    "blanks (home-assistant/core#175637)": (
        CompletionDecoder,
        sse(delta(content=" \n"), delta(content="\t"), stop()),
    ),
    "reasoning and no answer (janhq/jan#8712)": (
        CompletionDecoder,
        sse(delta(reasoning_content="Hm."), stop()),
    ),
    "a document without a word": (CompletionDecoder, json.dumps(complete_call({"content": ""})).encode()),
    "cut before the first word (CherryHQ/stella#1088)": (CompletionDecoder, sse(stop("length"))),
    "an empty list of calls": (CompletionDecoder, sse(delta(content="", tool_calls=[]), stop())),
    "Claude, without a block (spacedriveapp/spacebot#171)": (MessageDecoder, claude()),
    "Claude, thinking alone (aaif-goose/goose#11975)": (
        MessageDecoder,
        claude(call_start(type="thinking", thinking="Hm.")),
    ),
    "Claude, an empty block": (MessageDecoder, claude(call_start(type="text", text=""))),
    "Ollama, done at once": (OllamaDecoder, b'{"message":{"content":""},"done":true,"done_reason":"stop"}\n'),
    "usage and no word (dust-tt/dust#29534)": (
        CompletionDecoder,
        sse(stop(), {"choices": [], "usage": {"completion_tokens": 4}}),
    ),
}


@pytest.mark.parametrize(("decoder", "wire"), EMPTY.values(), ids=EMPTY)
def test_an_answer_without_a_word_is_a_failure(decoder: Any, wire: bytes) -> None:
    heard = both(decoder, wire)
    assert heard.error is not None
    assert (heard.error.kind, heard.finished) == (ModelErrorKind.EMPTY, None)


def test_an_answer_that_was_cut_before_its_first_word_is_not_tried_again() -> None:
    cut, stopped = (both(CompletionDecoder, sse(stop(reason))).error for reason in ("length", "stop"))
    assert cut is not None
    assert stopped is not None
    assert (cut.is_final, stopped.is_final) == (True, False)
    assert "max_tokens" in cut.message


@pytest.mark.parametrize("reason", ["SAFETY", "content_filter"])
def test_a_filtered_answer_has_its_reason(reason: str) -> None:
    assert both(CompletionDecoder, sse(stop(reason))).reason is Finish.CONTENT_FILTER


def test_blanks_before_the_first_word_come_with_it() -> None:
    assert both(CompletionDecoder, sse(delta(content="\n\n"), delta(content="Hi"), stop())).text == "\n\nHi"


ENDS = {
    Finish.STOP: [
        *("stop", "STOP", "end_turn", "stop_sequence", "eos", "eos_token", "COMPLETE", "eosFound", "normal"),
        *("FINISH_REASON_STOP", "stopStringFound", "REASON_STOP", {"type": "stop", "matched": 2}),
    ],
    Finish.LENGTH: [
        *(
            "length",
            "max_tokens",
            "MAX_TOKENS",
            "model_length",
            "token_limit",
            "max_output_tokens",
            "ERROR_LIMIT",
        ),
        *("model_context_window_exceeded", "FINISH_REASON_MAX_TOKENS", "maxPredictedTokensReached", "limit"),
        *("contextLengthReached", "REASON_MAX_LEN", "CONTINUATION", {"type": "length", "length": 5}),
    ],
    Finish.CONTENT_FILTER: [
        *(
            "content_filter",
            "SAFETY",
            "RECITATION",
            "sensitive",
            "refusal",
            "PROHIBITED_CONTENT",
            "BLOCKLIST",
        ),
        *("SPII", "LANGUAGE", "IMAGE_SAFETY", "MODEL_ARMOR", "guardrail_intervened", "content_filtered"),
        *("ERROR_TOXIC", "FINISH_REASON_SAFETY", "content-filter"),
    ],
}
FAILURES = [
    *("error", "ERROR", "abort", "aborted", "network_error", "insufficient_system_resource", "OTHER"),
    *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "malformed_model_output", "malformed_tool_use"),
    *(
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "timeout",
        "cancelled",
        "USER_CANCEL",
        "time_limit",
    ),
    *("pause_turn", "compaction", "incomplete", "a_word_of_tomorrow", {"type": "abort"}),
]
SAID = [delta(content="The answer is")]


@pytest.mark.parametrize(("finish", "reason"), [(one, told) for one, all_ in ENDS.items() for told in all_])
def test_reasons_in_the_words_of_every_server(finish: Finish, reason: Any) -> None:
    assert both(CompletionDecoder, sse(*SAID, stop(reason))).reason is finish
    if isinstance(reason, str):
        said = call_start(type="text", text="The answer is")
        assert both(MessageDecoder, claude(said, reason=reason)).reason is finish


@pytest.mark.parametrize("reason", FAILURES, ids=str)
def test_a_reason_that_is_no_success_or_not_known_is_a_failure(reason: Any) -> None:
    heard = both(CompletionDecoder, sse(*SAID, stop(reason)))
    assert (heard.text, heard.finished) == ("The answer is", None)
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.BROKEN_STREAM
    if isinstance(reason, str):
        assert reason in heard.error.message


@pytest.mark.parametrize("reason", [None, "", "null", "none", "FINISH_REASON_UNSPECIFIED", "not_finished"])
def test_a_reason_that_is_none_ends_nothing(reason: Any) -> None:
    chunks = [{"choices": [{"delta": {"content": text}, "finish_reason": reason}]} for text in ("Hel", "lo")]
    heard = both(CompletionDecoder, sse(*chunks, end=b""))
    assert heard.text == "Hello"
    assert heard.error is not None, "it did not say that it was done"
    assert both(CompletionDecoder, sse(*chunks, stop("length"))).reason is Finish.LENGTH


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        (stop("error", error={"code": 502, "message": "Upstream idle timeout"}), "Upstream idle timeout"),
        (stop(None, error={"message": "gone"}), "gone"),
        (stop("MALFORMED_FUNCTION_CALL", finish_message="Failed to parse"), "Failed to parse"),
        (stop({"type": "abort", "message": "Abort in waiting queue"}), "Abort in waiting queue"),
        ({"choices": None, "base_resp": {"status_code": 1002, "status_msg": "slow down"}}, "slow down"),
        ({**stop(None), "x_groq": {"id": "r", "error": "over capacity"}}, "over capacity"),
        ({**stop("error"), "error": {"code": 500, "message": "Provider gave up"}}, "Provider gave up"),
        (stop("error", native_finish_reason="MALFORMED_FUNCTION_CALL"), "MALFORMED_FUNCTION_CALL"),
        ({"detail": "Internal error"}, "Internal error"),
        ({"message": "boom"}, "boom"),
        ({"type": "error", "message": "boom"}, "boom"),
    ],
)
def test_an_error_beside_or_inside_a_choice_is_told_in_its_words(chunk: dict[str, Any], words: str) -> None:
    heard = both(CompletionDecoder, sse(*SAID, chunk))
    assert heard.error is not None
    assert words in heard.error.message


def test_the_first_reason_counts_and_a_plain_stop_is_made_more_exact() -> None:
    for first, second, reason in (
        ("length", "stop", Finish.LENGTH),
        ("stop", "content_filter", Finish.CONTENT_FILTER),
        ("stop", "error", Finish.STOP),
    ):
        assert both(CompletionDecoder, sse(*SAID, stop(first), stop(second))).reason is reason


IDLE = {
    "a message that tells no failure": sse({"code": 0, "message": "Success"}, end=b""),
    "a report of progress": sse({"message": "processing"}, end=b""),
    "empty data": b"data:\n\ndata: \n\n",
    "data: ping": b"data: ping\n\n",
    "data: [PING]": b"data: [PING]\n\n",
    "a comment (coder/coder#28185)": b":\n\n: keepalive\n\n",
    "a comment as data (mnfst/llm-gateway#2053)": b"data: : OPENROUTER PROCESSING\n\n",
    "the event ping (NousResearch/hermes-agent#112183)": b"event: ping\ndata: x\n\nevent: ping\n\nid: 7\n\n",
    "keep-alive": b"data: keep-alive\n\ndata: KEEPALIVE\n\n",
    "an empty text (caozhiyuan/copilot-api#88)": b'data: ""\n\n',
    "null, and an empty object": b"data: null\n\ndata: {}\n\n",
    "heartbeat (QuantumNous/new-api#1276)": b"event: heartbeat\ndata: 1\n\n",
    "choices empty (meilisearch/meilisearch#6477)": sse(
        {"choices": [], "prompt_filter_results": []}, end=b""
    ),
    "no choices, but usage (gradio-app/gradio#11755)": sse({"usage": {"prompt_tokens": 1}}, end=b""),
    "choices null": sse({"choices": None}, end=b""),
    "a type nobody knows": sse({"type": "ping"}, {"type": "heartbeat", "cost": "0"}, end=b""),
    "a moderation (openai Moderation)": sse({"choices": [], "moderation": {"input": {}}}, end=b""),
    "progress without a delta (llama.cpp)": sse(
        {"choices": [{"delta": {}, "finish_reason": None}], "prompt_progress": {"processed": 3}}, end=b""
    ),
    "another choice's index, no delta": sse({"choices": [{"index": 0}]}, end=b""),
    "error: null": sse({"choices": [], "error": None}, end=b""),
    "retry and id fields": b"retry: 3000\nid: 4\n\n",
}


@pytest.mark.parametrize("idle", IDLE.values(), ids=IDLE)
def test_harmless_events_are_harmless_at_any_place(idle: bytes) -> None:
    first, second, end = (sse(chunk, end=b"") for chunk in HELLO)
    for wire in (
        idle + first + second + end + DONE,
        first + idle + second + end + DONE,
        first + second + end + idle + DONE,
    ):
        heard = both(CompletionDecoder, wire)
        assert (heard.text, heard.reason, heard.error) == ("Hello", Finish.STOP, None)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
def test_every_end_of_line_and_a_byte_order_mark(ends: bytes) -> None:
    wire = b"\xef\xbb\xbf" + sse(*HELLO).replace(b"\n", ends)
    assert both(CompletionDecoder, wire).text == "Hello"
    wire = claude(call_start(type="text", text="Hello")).replace(b"\n", ends)
    assert both(MessageDecoder, wire).text == "Hello"


SPOILERS = {
    "an error": sse({"error": {"message": "too late"}}, end=b""),
    "garbage": b"data: {nonsense\n\n",
    "words": b"data: upstream went away\n\n",
    "a page": b"data: <html>\n\n",
    "an array": b"data: [1, 2]\n\n",
    "half an event": b'data: {"choices": [{"del',
    "another reason": sse(stop("error"), end=b""),
    "a reason nobody knows": sse(stop("xyz"), end=b""),
    "an error in a choice": sse(stop(None, error={"message": "x"}), end=b""),
    "an error field": b'error: {"code": 500}\n\n',
    "a bare line": b'{"error": "gone"}\n',
}


@pytest.mark.parametrize("spoiler", SPOILERS.values(), ids=SPOILERS)
def test_nothing_spoils_an_answer_that_said_why_it_ended(spoiler: bytes) -> None:
    heard = both(CompletionDecoder, sse(*HELLO, end=b"") + spoiler)
    assert (heard.text, heard.reason, heard.error) == ("Hello", Finish.STOP, None)


def usage(**fields: Any) -> dict[str, Any]:
    return {"choices": [], "usage": fields}


USAGES = {
    "plain": ([usage(prompt_tokens=11, completion_tokens=7)], TokenCounts(11, 7)),
    "written as 11.0": ([usage(prompt_tokens=11.0, completion_tokens=7.0)], TokenCounts(11, 7)),
    "written as texts": ([usage(prompt_tokens="11", completion_tokens="7")], TokenCounts(11, 7)),
    "growing (InsForge/InsForge#2015)": (
        [usage(prompt_tokens=11, completion_tokens=count) for count in (1, 4, 7)],
        TokenCounts(11, 7),
    ),
    "zeros at the end": (
        [usage(prompt_tokens=11, completion_tokens=7), usage(prompt_tokens=0, completion_tokens=0)],
        TokenCounts(11, 7),
    ),
    "beside the reason (avala-ai/agent-code#375)": (
        [{**stop(), "usage": {"prompt_tokens": 11, "completion_tokens": 7}}],
        TokenCounts(11, 7),
    ),
    "inside the choice (Moonshot)": (
        [stop(usage={"prompt_tokens": 11, "completion_tokens": 7, "cached_tokens": 4})],
        TokenCounts(11, 7, 4),
    ),
    "x_groq": (
        [{"choices": [], "x_groq": {"usage": {"prompt_tokens": 11, "completion_tokens": 7}}}],
        TokenCounts(11, 7),
    ),
    "details (openai PromptTokensDetails)": (
        [
            usage(
                prompt_tokens=11,
                completion_tokens=7,
                total_tokens=18,
                prompt_tokens_details={"cached_tokens": 5, "cache_write_tokens": 2},
                completion_tokens_details={"reasoning_tokens": 3},
            )
        ],
        TokenCounts(11, 7, 5, 2, 3),
    ),
    "DeepSeek's cache": (
        [usage(prompt_tokens=11, completion_tokens=7, prompt_cache_hit_tokens=8, prompt_cache_miss_tokens=3)],
        TokenCounts(11, 7, 8),
    ),
    "reasoning beside the output (xAI)": (
        [
            usage(
                prompt_tokens=11,
                completion_tokens=2,
                total_tokens=18,
                completion_tokens_details={"reasoning_tokens": 5},
            )
        ],
        TokenCounts(11, 7, None, None, 5),
    ),
    "reasoning only in the total (Google)": (
        [usage(prompt_tokens=11, completion_tokens=2, total_tokens=18)],
        TokenCounts(11, 7, None, None, 5),
    ),
    "named input and output": ([usage(input_tokens=11, output_tokens=7)], TokenCounts(11, 7)),
    "llama.cpp's timings alone": (
        [{"choices": [], "timings": {"prompt_n": 11, "predicted_n": 7}}],
        TokenCounts(11, 7),
    ),
    "nonsense": ([usage(prompt_tokens=-1, completion_tokens=True, x=None)], TokenCounts()),
}


@pytest.mark.parametrize(("chunks", "counts"), USAGES.values(), ids=USAGES)
def test_usage_in_the_words_of_every_server(chunks: list[dict[str, Any]], counts: TokenCounts) -> None:
    heard = both(CompletionDecoder, sse(*HELLO, *chunks))
    assert heard.finished is not None
    assert heard.finished.counts == counts


def test_claudes_usage_counts_what_was_cached() -> None:
    cached = {"cache_read_input_tokens": 512, "cache_creation_input_tokens": 1733}
    head = {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1, **cached}}}
    details = {"output_tokens_details": {"thinking_tokens": 2}}
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"input_tokens": 10, "output_tokens": 5.0, **details},
    }
    wire = sse(head, call_start(type="text", text="Hello"), end, {"type": "message_stop"}, end=b"")
    heard = both(MessageDecoder, wire)
    assert heard.finished is not None
    assert heard.finished.counts == TokenCounts(2255, 5, 512, 1733, 2)
