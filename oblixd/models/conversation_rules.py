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
from typing import Any

Body = dict[str, Any]
Message = dict[str, Any]

OPENING = "(The conversation begins.)"
NO_ANSWER = "(This was not answered.)"
NO_REASONING = "(The reasoning was not kept.)"
NO_SIGNATURE = "skip_thought_signature_validator"
"""What Google documents for calls of another model: ai.google.dev, "Thought signatures"."""

_NINE = re.compile(r"[a-zA-Z0-9]{9}")
_NINE_CHARACTERS = 9


@dataclass(frozen=True, slots=True)
class Rule:
    """What a server wants of a conversation."""

    key: str
    """No two rules have the same."""
    asked_by: re.Pattern[str]
    """The sentences that ask for it, in lower case."""
    apply: Callable[[Sequence[Message]], list[Message]]
    note: str
    """What was done, for a person."""

    def written(self, body: Body) -> Body:
        """Give a request with its conversation in that form."""
        return {**body, "messages": self.apply(body["messages"])}


def rules_for(words: str, body: Body) -> Iterator[Rule]:
    """Give the rules that the words of a refusal ask for and that change this request, the best first."""
    if not isinstance(body.get("messages"), list):
        return
    text = words.lower()
    for rule in RULES:
        if rule.asked_by.search(text) and rule.apply(body["messages"]) != body["messages"]:
            yield rule


def alternated(messages: Sequence[Message]) -> list[Message]:
    """One system message first, then the user, and from there on strict turns."""
    result: list[Message] = []
    for message in system_first(messages):
        last = result[-1]["role"] if result else "system"
        if message["role"] == "assistant" and last == "system":
            result.append({"role": "user", "content": OPENING})
        elif message["role"] == "user" and last == "tool":
            result.append({"role": "assistant", "content": NO_ANSWER})
        if result and message["role"] == result[-1]["role"] and message["role"] != "tool":
            result[-1] = _joined(result[-1], message)
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
        first = _joined(first, later)
    return [first, *others]


def without_system(messages: Sequence[Message]) -> list[Message]:
    """Say the system message at the beginning of the user's first one."""
    ordered = system_first(messages)
    if not ordered or ordered[0]["role"] != "system":
        return ordered
    system, *others = ordered
    said = {**system, "role": "user"}
    if others and others[0]["role"] == "user":
        return [_joined(said, others[0]), *others[1:]]
    return [said, *others]


def answered_after_tools(messages: Sequence[Message]) -> list[Message]:
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


def with_signatures(messages: Sequence[Message]) -> list[Message]:
    """Mark calls of other models, which have no signature of Google's."""
    unsigned = {"google": {"thought_signature": NO_SIGNATURE}}
    return [_with_calls(message, lambda call: {"extra_content": unsigned, **call}) for message in messages]


def without_empty_content(messages: Sequence[Message]) -> list[Message]:
    """Send null, not an empty text, where an answer has calls only."""
    return [
        {**message, "content": None} if message.get("tool_calls") and not message.get("content") else message
        for message in messages
    ]


def _joined(first: Message, second: Message) -> Message:
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


_STRICT = re.compile(
    # Templates of Llama 2, Gemma, Mistral: TabbyML/tabby#1105, ggml-org/llama.cpp#11402, mistral-vibe#1006
    r"\balternat(e|es|ing|ion)\b"
    r"|consecutive|in a row|same role|2 or more assistant messages"
    # Gemini: function call turns, multiturn requests
    r"|turn comes immediately after|ends? with a user role"
    r"|(first|initial|last) (message|turn|role)\b.{0,40}\buser|(start|begin)s? with .{0,16}\buser"
    r"|unexpected role .?(user|assistant).? after role .?(user|assistant)"
)
_SYSTEM_FIRST = re.compile(
    # Qwen, Mistral, vLLM: "System message must be at the beginning"
    r"system.{0,60}\b(first|beginning|start|begin|head|once)\b|only the first message.{0,40}system"
    r"|unexpected role .?system|(multiple|more than one|duplicate|several|only one) system"
)
_NO_SYSTEM = re.compile(
    # Gemma: "System role not supported"; Google: "Developer instruction is not enabled"
    r"(system|developer).? (role|message|prompt|instruction)s?\b.{0,40}\b(not|n't|unsupported)"
    r"|(unsupported|invalid|unknown|unexpected) role:?.{0,4}(system|developer)"
    r"|role.{0,8}\b(system|developer)\b.{0,30}\b(not|unsupported|invalid)|does(n't| not) support system"
    r"|only .{0,40}\b(user|assistant)\b.{0,30}roles? (are|is) (supported|allowed)"
)
_AFTER_TOOLS = re.compile(r"role .?user.? after role .?tool|user.{0,20}(after|following) (a )?tool")
_SHORT_IDS = re.compile(r"\bid\b.{0,120}length of 9|a-z, a-z, 0-9, with a length of 9")
_REASONING = re.compile(r"reasoning_content")
_SIGNATURE = re.compile(r"thought_?\s?signature")
_EMPTY = re.compile(
    r"(content|message)\b.{0,80}\b(must not be empty|(can't|cannot|can not|may not|should not) be empty"
    r"|is empty|be null|non-?empty|(at least|minimum) (1|one) char)"
)

_TURNS = "neighbours of one role were joined, as the server wants strict turns"
_TO_USER = "the system message was said by the user: the server takes none"
RULES = (
    Rule("ids", _SHORT_IDS, with_short_ids, "ids of tool calls were written with nine characters"),
    Rule("after tools", _AFTER_TOOLS, answered_after_tools, "an answer was put behind the results of tools"),
    Rule("turns", _STRICT, alternated, _TURNS),
    Rule("system first", _SYSTEM_FIRST, system_first, "system messages were joined at the beginning"),
    Rule("no system", _NO_SYSTEM, without_system, _TO_USER),
    Rule("strict turns without system", _STRICT, lambda m: alternated(without_system(m)), _TO_USER),
    Rule("reasoning", _REASONING, with_reasoning, "calls of other models got a word in place of reasoning"),
    Rule(
        "reasoning everywhere",
        _REASONING,
        lambda messages: with_reasoning(messages, everywhere=True),
        "answers of other models got a word in place of reasoning",
    ),
    Rule("signatures", _SIGNATURE, with_signatures, "calls of other models were marked as not signed"),
    Rule("empty content", _EMPTY, without_empty_content, "null was sent in place of an empty text"),
)
"""In the order of trying."""
