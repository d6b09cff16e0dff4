"""What a chat template writes around messages and tools, measured once.

A template writes a part that is there once (marks at the beginning, the opening of the answer, a system
message of its own where there is none), a part for each message by its role, and a part for each tool.
All of them are found by rendering conversations of one word, whose own tokens are known.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oblixd.models.base import Tool
from oblixd.models.encoding import function_of

PROBE = "a"
Render = Callable[[list[dict[str, Any]], list[dict[str, Any]]], Awaitable[int | None]]
"""Counts the tokens of a rendered conversation with tools; None where it can't be rendered."""

_TOOLS = (Tool("a", "a"), Tool("b", "b"))


@dataclass(frozen=True, slots=True)
class Template:
    """Tokens that a chat template writes beside texts."""

    user_alone: int
    """Once, where the conversation has no system message."""
    with_system: int
    """Once, where it has one: its own frame is part of it."""
    user_turn: int
    """Around a user's message."""
    assistant_turn: int
    """Around an assistant's message."""
    tool_result: int = 0
    """Around a tool call and its result, together."""
    tools: int = 0
    """Once, where there are tools."""
    each_tool: int = 0
    """Around the definition of each tool."""

    def around(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Count what is written around the messages of a conversation, which are in OpenAI's form."""
        roles = [str(one.get("role")) for one in messages]
        systems = roles.count("system")
        once = self.with_system + (systems - 1) * self.user_turn if systems else self.user_alone
        turns = roles.count("user") * self.user_turn + roles.count("assistant") * self.assistant_turn
        return once + turns + roles.count("tool") * self.tool_result

    def around_tools(self, count: int) -> int:
        """Count what is written around the definitions of so many tools."""
        return self.tools + count * self.each_tool if count else 0


def texts_of_tools(tools: Sequence[Tool]) -> list[str]:
    """Give the definitions as templates write them."""
    return [json.dumps(function_of(tool)) for tool in tools]


async def measure(
    render: Render, count: Callable[[Sequence[str]], Awaitable[list[int] | None]]
) -> Template | None:
    """Measure a server's template. None where it can't be asked, or shows none."""
    counts = await count([PROBE, *texts_of_tools(_TOOLS)])
    one, system, long = [
        await render(_probe_messages(*roles), []) for roles in (("user",), ("system", "user"), _LONG)
    ]
    if counts is None or one is None or system is None or long is None:
        return None
    probe, *definitions = counts
    both = long - one - 2 * probe
    # Templates that want strict turns refuse two questions; how a pair is divided is then all the same.
    twice = await render(_probe_messages("user", "user"), [])
    asked = min(both, max(0, twice - one - probe)) if twice is not None else both // 2
    called, tools, each = await _of_tools(render, one, probe, definitions)
    return Template(one - probe - asked, system - 2 * probe - asked, asked, both - asked, called, tools, each)


async def _of_tools(render: Render, one: int, probe: int, definitions: list[int]) -> tuple[int, int, int]:
    first, second = [json.loads(text) for text in texts_of_tools(_TOOLS)]
    with_one = await render(_probe_messages("user"), [first])
    with_two = await render(_probe_messages("user"), [first, second])
    call = {"id": "callaaaaa", "type": "function", "function": {"name": PROBE, "arguments": "{}"}}
    turn = [
        *_probe_messages("user"),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "callaaaaa", "content": PROBE},
    ]
    with_call = await render(turn, [first])
    if with_one is None or with_two is None:
        return 0, 0, 0
    each = max(0, with_two - with_one - definitions[1])
    once = with_one - one - definitions[0] - each
    return (max(0, with_call - with_one - 3 * probe) if with_call is not None else 0), once, each


_LONG = ("user", "assistant", "user")


def _probe_messages(*roles: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": PROBE} for role in roles]
