"""Tool calls as answers stream them: told apart, named once, each with an id.

Servers tell the calls of one answer apart by index, by id, by name, or by none of them, and
write arguments as text in pieces, as one text, or as an object. The rules, each after a report
of users: another id or another name begins another call, and so does a name behind arguments
that are whole; a piece with neither goes on with the call of its index, else with the last one.
What fits none of them is a failure: half of one call and half of another is never made a third.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oblixd.models.base import Finish, ModelError, ToolCall
from oblixd.models.failures import Peer

_NO_IDS = {"", "null", "none"}
"""Mistral's SDK writes a missing id as the text null."""


@dataclass(slots=True, eq=False)
class _Call:
    """A call as far as it has come."""

    index: str | None
    call_id: str
    name: str = ""
    text: str = ""
    """Its arguments so far."""
    made: ToolCall | None = None
    """None: it is not named yet, and its arguments wait."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What else its server wrote about it."""

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are a whole JSON object."""
        if not self.text.rstrip().endswith("}"):
            return False
        try:
            return isinstance(json.loads(self.text), dict)
        except (ValueError, RecursionError):
            return False


class Calls:
    """The tool calls of one answer."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._calls: list[_Call] = []

    def __len__(self) -> int:
        return len(self._calls)

    def take(
        self,
        index: object,
        call_id: str,
        name: str,
        arguments: object = "",
        extra: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[ToolCall, str]]:
        """Take a piece of a call, and give what can be told of it: the call and more of its arguments.

        Nothing is given before the call is named. The first that is given may have no
        arguments. `index` is None where the server gives none. Raises ModelError.
        """
        call_id = "" if call_id.lower() in _NO_IDS else call_id
        text = arguments_text(arguments)
        call = self._call_of(None if index is None else str(index), call_id, name, text)
        if call_id and call.call_id == call_id and text and call.text == text and call.is_whole:
            return  # The server repeats at the end what it streamed before.
        call.call_id = call.call_id or call_id
        call.extra.update(extra or {})
        call.text += text
        if call.made is not None:
            if text:
                yield call.made, text
        elif name:
            call.name = name
            call.made = ToolCall(self._unique(call), name)
            yield call.made, call.text

    def check(self) -> None:
        """Raise ModelError where the answer ended in a call that was never named, or in two that are one."""
        if any(call.made is None for call in self._calls):
            raise self._peer.broken("it calls a tool and does not say which")
        if any(_is_several(call.text) for call in self._calls):
            raise self._unclear("the arguments of two calls came as those of one")

    def why(self, reason: Finish) -> Finish:
        """Give why the answer ended: servers that call tools may say only that they stopped.

        Raises ModelError where it ended to call a tool, and there is no call.
        """
        if reason is Finish.TOOL_CALLS and not self._calls:
            raise self._peer.broken("it says that it calls a tool, and there is no call")
        return Finish.TOOL_CALLS if self._calls and reason is Finish.STOP else reason

    def extras(self) -> dict[str, dict[str, Any]]:
        """Give what else the server wrote about each call, by our id of it."""
        return {call.made.call_id: call.extra for call in self._calls if call.made and call.extra}

    def _call_of(self, index: str | None, call_id: str, name: str, text: str) -> _Call:
        call = self._going_on(index, call_id)
        if call is None or self._is_another(call, index, call_id, name, text):
            call = _Call(index, call_id)
            self._calls.append(call)
        return call

    def _going_on(self, index: str | None, call_id: str) -> _Call | None:
        """The call that a piece goes on with, by its index, else by its id, else the last one."""
        here = [call for call in self._calls if index is None or call.index in (None, index)]
        named = [call for call in here if call_id and call.call_id == call_id]
        if named:
            return named[-1]
        return here[-1] if here else None

    def _is_another(self, call: _Call, index: str | None, call_id: str, name: str, text: str) -> bool:
        """Whether a piece begins another call than this one. Raises ModelError where that can't be told."""
        if call_id and call.call_id and call_id != call.call_id:
            # Some servers make up a new id for every piece of one call: then only its index tells.
            return bool(name) or index is None or call.is_whole
        if call.made is None or not name or (name == call.name and not text.strip()):
            return self._goes_on(call, index, call_id, text)
        if name == call.name and (call_id or not call.is_whole):
            return self._goes_on(call, index, call_id, text)
        if not call.is_whole:
            raise self._unclear("a call begins before the arguments of the one before it are whole")
        return True

    def _goes_on(self, call: _Call, index: str | None, call_id: str, text: str) -> bool:
        """Give False: the piece belongs to this call. Raises ModelError where it may as well be another's."""
        if text.lstrip().startswith("{") and text != call.text and call.is_whole:
            raise self._unclear("the arguments of two calls came as those of one")
        begun = [one for one in self._calls if one is not call and one.text and not one.is_whole]
        if index is None and not call_id and begun:
            raise self._unclear("a piece of a call does not say of which")
        return False

    def _unclear(self, why: str) -> ModelError:
        return self._peer.broken(f"its tool calls can't be told apart: {why}")

    def _unique(self, call: _Call) -> str:
        taken = {one.made.call_id for one in self._calls if one.made is not None}
        if call.call_id and call.call_id not in taken:
            return call.call_id
        # Unlike any other: the conversation may go on at a server that wants its ids unique.
        return f"call_{secrets.token_hex(12)}"


def indexes(pieces: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Tell the pieces of one event apart: by the index that each has, else by its place beside the others."""
    given = [None if piece.get("index") is None else str(piece["index"]) for piece in pieces]
    if len(pieces) == 1 or len({*given} - {None}) == len(pieces):
        return given
    return [f"{index or 0}.{place}" for place, index in enumerate(given)]


def _is_several(text: str) -> bool:
    """Whether a text holds one JSON object behind another."""
    try:
        _, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    return text.lstrip()[end:].lstrip().startswith("{")


def arguments_text(arguments: object) -> str:
    """Give arguments as JSON text, which is how most servers write them; some write the object itself."""
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
