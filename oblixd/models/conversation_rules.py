"""Writes a conversation anew as a server wants it, once it has refused it as it was.

Most servers take any order of roles. Some have a template that wants strict turns, the system message
first or none at all, ids of nine characters, or reasoning with every call. Each says so in its refusal: a
table tells what sentence asks for what. Here are only changes of form: what was said stays said.
The messages are those of OpenAI's chat completions; Ollama's differ by their `images`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from oblixd.patterns import pattern

Body = dict[str, Any]
Message = dict[str, Any]

OPENING = "(The conversation begins.)"
NO_ANSWER = "(This was not answered.)"
NO_REASONING = "(The reasoning was not kept.)"
NO_SIGNATURE = "skip_thought_signature_validator"
"""What Google documents for calls of another model: ai.google.dev, "Thought signatures"."""

_KNOWN_OF_CALL = ("id", "type", "function", "index")
_KEPT_OF_ANSWER = {
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "reasoning_opaque",
    "reasoning_text",
    "thinking",
    "thinking_blocks",
    "thinking_content",
    "extra_content",
    "provider_specific_fields",
}
_NINE = pattern(r"[a-zA-Z0-9]{9}")
_NINE_CHARACTERS = 9


@dataclass(frozen=True, slots=True)
class Rule:
    """What a server wants of a conversation."""

    key: str
    """No two rules have the same."""
    pattern: re.Pattern[str]
    """The sentences that ask for it, in lower case."""
    rewrite: Callable[[Body], Body]
    """Gives a request with its conversation in that form."""
    note: str
    """What was done, for a person."""
    is_lasting: bool = True
    """Whether later requests need it, too."""


def rules_for(words: str, body: Body) -> Iterator[Rule]:
    """Give the rules that the words of a refusal ask for and that change this request, the best first."""
    if not isinstance(body.get("messages"), list):
        return
    text = words.lower()
    for rule in RULES:
        if rule.pattern.search(text) and rule.rewrite(body) != body:
            yield rule


def alternate(messages: Sequence[Message]) -> list[Message]:
    """Put one system message first, then the user, and from there on strict turns."""
    result: list[Message] = []
    for message in system_first(messages):
        last = result[-1]["role"] if result else "system"
        if message["role"] == "assistant" and last == "system":
            result.append({"role": "user", "content": OPENING})
        elif message["role"] == "user" and last == "tool":
            result.append({"role": "assistant", "content": NO_ANSWER})
        if result and message["role"] == result[-1]["role"] and message["role"] != "tool":
            result[-1] = _join(result[-1], message)
        else:
            result.append(message)
    return result


def system_first(messages: Sequence[Message]) -> list[Message]:
    """Join all system messages into one at the head."""
    systems = [message for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    if not systems:
        return others
    first = systems[0]
    for later in systems[1:]:
        first = _join(first, later)
    return [first, *others]


def without_system(messages: Sequence[Message]) -> list[Message]:
    """Say the system message at the beginning of the user's first one."""
    ordered = system_first(messages)
    if not ordered or ordered[0]["role"] != "system":
        return ordered
    system, *others = ordered
    said = {**system, "role": "user"}
    if others and others[0]["role"] == "user":
        return [_join(said, others[0]), *others[1:]]
    return [said, *others]


def answer_after_tools(messages: Sequence[Message]) -> list[Message]:
    """Put an answer between the results of tools and what the user says next."""
    result: list[Message] = []
    for message in messages:
        if message["role"] == "user" and result and result[-1]["role"] == "tool":
            result.append({"role": "assistant", "content": NO_ANSWER})
        result.append(message)
    return result


def with_short_ids(messages: Sequence[Message]) -> list[Message]:
    """Write the ids of calls as Mistral wants them: nine letters and digits."""
    return [_with_ids(message, _nine) for message in messages]


def with_reasoning(messages: Sequence[Message], *, everywhere: bool = False) -> list[Message]:
    """Give a word in place of reasoning that another model kept to itself."""
    return [
        {"reasoning_content": NO_REASONING, **message}
        if message["role"] == "assistant" and (everywhere or message.get("tool_calls"))
        else message
        for message in messages
    ]


def with_signatures(messages: Sequence[Message], *, everywhere: bool = False) -> list[Message]:
    """Mark calls of other models, which have no signature of Google's; `everywhere`: also those with one."""
    unsigned = {"extra_content": {"google": {"thought_signature": NO_SIGNATURE}}}
    return [
        _with_calls(message, lambda call: {**call, **unsigned} if everywhere else {**unsigned, **call})
        for message in messages
    ]


def without_kept(messages: Sequence[Message]) -> list[Message]:
    """Leave out reasoning and signatures: the server wrote them, and does not take them back."""
    plain = [
        {key: value for key, value in message.items() if key not in _KEPT_OF_ANSWER} for message in messages
    ]
    return [
        _with_calls(message, lambda call: {key: call[key] for key in call if key in _KNOWN_OF_CALL})
        for message in plain
    ]


def without_thoughts(body: Body) -> Body:
    """Leave out Claude's blocks of thinking, and do not ask for new ones: it wants all of them or none."""
    messages = [
        {**message, "content": [block for block in message["content"] if not _is_thought(block)]}
        if isinstance(message.get("content"), list)
        else message
        for message in body["messages"]
    ]
    return {key: value for key, value in {**body, "messages": messages}.items() if key != "thinking"}


def with_tools(body: Body) -> Body:
    """Name the tools that the conversation has calls of, and say that none may be called."""
    if body.get("tools"):
        return body
    names = sorted(
        {call["function"]["name"] for one in body["messages"] for call in one.get("tool_calls") or ()}
    )
    if names:
        parameters = {"type": "object", "properties": {}}
        functions = ({"name": name, "parameters": parameters} for name in names)
        tools = [{"type": "function", "function": function} for function in functions]
        return {**body, "tools": tools, "tool_choice": "none"}
    blocks = (block for one in body["messages"] for block in one["content"] if isinstance(block, dict))
    names = sorted({block["name"] for block in blocks if block.get("type") == "tool_use"})
    schema = {"type": "object", "properties": {}}
    claudes = [{"name": name, "input_schema": schema} for name in names]
    return {**body, "tools": claudes, "tool_choice": {"type": "none"}} if claudes else body


def _is_thought(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") in {"thinking", "redacted_thinking"}


def _of_messages(change: Callable[[Sequence[Message]], list[Message]]) -> Callable[[Body], Body]:
    return lambda body: {**body, "messages": change(body["messages"])}


def without_empty_content(messages: Sequence[Message]) -> list[Message]:
    """Send null, not an empty text, where an answer has calls only."""
    return [
        {**message, "content": None} if message.get("tool_calls") and not message.get("content") else message
        for message in messages
    ]


def _join(first: Message, second: Message) -> Message:
    """Join two messages of one role."""
    joined = {**first, **second}
    joined["content"] = _contents(first.get("content"), second.get("content"))
    for key in ("tool_calls", "images"):
        if both := [*(first.get(key) or ()), *(second.get(key) or ())]:
            joined[key] = both
    return joined


def _contents(first: Any, second: Any) -> Any:
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_blocks(first), *_blocks(second)]


def _blocks(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _with_ids(message: Message, write: Callable[[str], str]) -> Message:
    if "tool_call_id" in message:
        return {**message, "tool_call_id": write(message["tool_call_id"])}
    return _with_calls(message, lambda call: {**call, "id": write(call["id"])} if "id" in call else call)


def _with_calls(message: Message, change: Callable[[Any], Any]) -> Message:
    if not message.get("tool_calls"):
        return message
    return {**message, "tool_calls": [change(call) for call in message["tool_calls"]]}


def _nine(call_id: str) -> str:
    if _NINE.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:_NINE_CHARACTERS]


_STRICT = pattern(
    # Templates of Llama 2, Gemma, Mistral: TabbyML/tabby#1105, ggml-org/llama.cpp#11402, mistral-vibe#1006
    r"\balternat(e|es|ing|ion)\b"
    r"|consecutive|in a row|same role|2 or more assistant messages"
    # Gemini: function call turns, multiturn requests
    r"|turn comes immediately after|ends? with a user role"
    r"|(first|initial|last) (message|turn|role)\b.{0,40}\buser|(start|begin)s? with .{0,16}\buser"
    r"|unexpected role .?(user|assistant).? after role .?(user|assistant)"
)
_SYSTEM_FIRST = pattern(
    # Qwen, Mistral, vLLM: "System message must be at the beginning"
    r"system.{0,60}\b(first|beginning|start|begin|head|once)\b|only the first message.{0,40}system"
    r"|unexpected role .?system|(multiple|more than one|duplicate|several|only one) system"
)
_NO_SYSTEM = pattern(
    # Gemma: "System role not supported"; Google: "Developer instruction is not enabled"
    r"(system|developer).? (role|message|prompt|instruction)s?\b.{0,40}\b(not|n't|unsupported)"
    r"|(unsupported|invalid|unknown|unexpected) role:?.{0,4}(system|developer)"
    r"|role.{0,8}\b(system|developer)\b.{0,30}\b(not|unsupported|invalid)|does(n't| not) support system"
    r"|only .{0,40}\b(user|assistant)\b.{0,30}roles? (are|is) (supported|allowed)"
)
_AFTER_TOOLS = pattern(r"role .?user.? after role .?tool|user.{0,20}(after|following) (a )?tool")
_SHORT_IDS = pattern(r"\bid\b.{0,120}length of 9|a-z, a-z, 0-9, with a length of 9")
_NOT_BACK = pattern(
    # Groq, pydantic's extra_forbidden, DeepSeek's reasoner: LiteLLM's and Groq's own reports
    r"(\b(reasoning_(content|details|text|opaque)|thinking_\w+|extra_content|provider_specific_fields)\b"
    r"|\bmessages?\b.{0,80}\b(reasoning|thinking)\b).{0,60}"
    r"\b(unsupported|not (supported|permitted|allowed|accepted)|unexpected|unknown|unrecogni[sz]ed"
    r"|extra inputs|should not|must not|remove)"
)
_REASONING = pattern(r"reasoning_content")
_SIGNATURE = pattern(r"thought_?\s?signature")
_BAD_SIGNATURE = pattern(r"thought_?\s?signature.{0,40}(not valid|invalid|corrupt)")
_THOUGHTS = pattern(
    r"expected .{0,4}thinking.{0,60}but found|thinking.{0,40}blocks.{0,60}cannot be modified"
    r"|(invalid|missing|required).{0,20}signature.{0,40}thinking|thinking.{0,40}signature.{0,30}(invalid|required)"
)
_TOOLS = pattern(
    r"must (define|include|specify|provide) .{0,4}tools|tools.{0,12}(param\w*|field|config)?.{0,20}"
    r"(must be|should be|needs? to be|is) (defined|provided|specified|passed|set|required)|toolconfig"
)
_EMPTY = pattern(
    r"(content|message)\b.{0,80}\b(must not be empty|(can't|cannot|can not|may not|should not) be empty"
    r"|is empty|be null|non-?empty|(at least|minimum) (1|one) char)"
)

_TURNS = "neighbours of one role were joined, as the server wants strict turns"
_TO_USER = "the system message was said by the user: the server takes none"
RULES = (
    Rule("not back", _NOT_BACK, _of_messages(without_kept), "reasoning and signatures were left out"),
    Rule(
        "ids", _SHORT_IDS, _of_messages(with_short_ids), "ids of tool calls were written with nine characters"
    ),
    Rule(
        "after tools",
        _AFTER_TOOLS,
        _of_messages(answer_after_tools),
        "an answer was put behind the results of tools",
    ),
    Rule("turns", _STRICT, _of_messages(alternate), _TURNS),
    Rule(
        "system first",
        _SYSTEM_FIRST,
        _of_messages(system_first),
        "system messages were joined at the beginning",
    ),
    Rule("no system", _NO_SYSTEM, _of_messages(without_system), _TO_USER),
    Rule(
        "strict turns without system",
        _STRICT,
        _of_messages(lambda messages: alternate(without_system(messages))),
        _TO_USER,
    ),
    Rule(
        "reasoning",
        _REASONING,
        _of_messages(with_reasoning),
        "calls of other models got a word in place of reasoning",
    ),
    Rule(
        "reasoning everywhere",
        _REASONING,
        _of_messages(partial(with_reasoning, everywhere=True)),
        "answers of other models got a word in place of reasoning",
    ),
    Rule(
        "signatures again",
        _BAD_SIGNATURE,
        _of_messages(partial(with_signatures, everywhere=True)),
        "calls were marked as not signed",
        is_lasting=False,
    ),
    Rule(
        "signatures",
        _SIGNATURE,
        _of_messages(with_signatures),
        "calls of other models were marked as not signed",
    ),
    Rule("thoughts", _THOUGHTS, without_thoughts, "earlier thinking was left out", is_lasting=False),
    Rule("tools", _TOOLS, with_tools, "the tools of earlier calls were named"),
    Rule(
        "empty content",
        _EMPTY,
        _of_messages(without_empty_content),
        "null was sent in place of an empty text",
    ),
)
"""In the order of trying."""
