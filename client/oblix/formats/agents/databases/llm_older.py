"""What `llm` wrote before version 0.36: a row of `responses` for each call of a model, in `conversations`.

Read from a file of 0.27.1. Calls, what tools answered, files (`fragments`) and attachments have tables of
their own. What a tool answered stands with the call of the model that was told, before its answer.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Collection, Iterator

from oblix.formats import images
from oblix.formats.agents.databases.tables import Row, rows_of
from oblix.formats.agents.origin import conversation_of
from oblix.formats.conversations import Conversation, string
from oblix.formats.moments import set_time
from oblix.formats.parts import call_part, parts_of, result_part, text_part
from oblix.v1 import messages_pb2

_COMPLETE = messages_pb2.MESSAGE_STATUS_COMPLETE
_FRAGMENTS = (
    "SELECT f.source, f.content FROM {table} t JOIN fragments f ON f.id = t.fragment_id "
    'WHERE t.response_id = ? ORDER BY t."order"'
)
_ATTACHMENTS = (
    "SELECT a.type, a.path, a.url, a.content FROM prompt_attachments t JOIN attachments a "
    'ON a.id = t.attachment_id WHERE t.response_id = ? ORDER BY t."order"'
)
_CALLS = "SELECT * FROM tool_calls WHERE response_id = ? ORDER BY id"
_RESULTS = "SELECT * FROM tool_results WHERE response_id = ? ORDER BY id"


def read(connection: sqlite3.Connection, tables: Collection[str]) -> Iterator[Conversation]:
    """Read each conversation. Its last messages are added by the newest call of a model."""
    names = {
        string(row, "id"): string(row, "name") for row in rows_of(connection, "SELECT * FROM conversations")
    }
    query = "SELECT conversation_id AS name FROM responses GROUP BY conversation_id ORDER BY min(id)"
    for row in list(rows_of(connection, query)):
        name = string(row, "name")
        conversation = conversation_of("llm", name, title=names.get(name, ""))
        taken = _Responses(connection, conversation, tables)
        for response in rows_of(
            connection, "SELECT * FROM responses WHERE conversation_id IS ? ORDER BY id", row["name"]
        ):
            taken.add(response)
        conversation.source = taken.source
        yield conversation


class _Responses:
    """The rows of one conversation."""

    def __init__(
        self, connection: sqlite3.Connection, conversation: Conversation, tables: Collection[str]
    ) -> None:
        self._connection = connection
        self._conversation = conversation
        self._tables = tables
        self.source: list[object] = []

    def add(self, response: Row) -> None:
        """Add a question, or what tools answered, and what the model said."""
        self._take_system(response)
        self.source.append({key: response.get(key) for key in ("prompt", "system", "response", "reasoning")})
        results = self._rows("tool_results", _RESULTS, response)
        told = [self._result(row) for row in results]
        self._add(messages_pb2.ROLE_TOOL, told, response, is_end=False)
        self._add(messages_pb2.ROLE_USER, list(self._question(response)), response, is_end=False)
        self._add(messages_pb2.ROLE_ASSISTANT, list(self._answer(response)), response, is_end=True)

    def _take_system(self, response: Row) -> None:
        given = [string(row, "content") for row in self._fragments("system_fragments", response)]
        self.source.append(given)
        system = "\n\n".join(filter(None, (*given, string(response, "system"))))
        if system and not self._conversation.messages:
            self._conversation.session.context["system"] = system

    def _question(self, response: Row) -> Iterator[messages_pb2.Part]:
        for row in self._fragments("prompt_fragments", response):
            self.source.append(row)
            yield text_part(f"[file: {string(row, 'source') or 'unnamed'}]\n{string(row, 'content')}\n")
        yield from parts_of(response.get("prompt"), self._conversation)
        for row in self._rows("prompt_attachments", _ATTACHMENTS, response, needs="attachments"):
            yield from attachment(row, self._conversation)

    def _answer(self, response: Row) -> Iterator[messages_pb2.Part]:
        if thought := string(response, "reasoning"):
            yield messages_pb2.Part(reasoning=thought)
        yield from parts_of(response.get("response"), self._conversation)
        for row in self._rows("tool_calls", _CALLS, response):
            self.source.append({"name": row["name"], "arguments": row["arguments"]})
            yield call_part(row.get("tool_call_id"), string(row, "name"), row.get("arguments"))

    def _result(self, row: Row) -> messages_pb2.Part:
        self.source.append(row.get("output"))
        is_error = bool(row.get("exception"))
        return result_part(row.get("tool_call_id"), string(row, "output"), is_error=is_error)

    def _fragments(self, table: str, response: Row) -> list[Row]:
        return self._rows(table, _FRAGMENTS.format(table=table), response, needs="fragments")

    def _rows(self, table: str, query: str, response: Row, *, needs: str = "") -> list[Row]:
        """Return the rows of a table that not every version has."""
        if table not in self._tables or (needs and needs not in self._tables):
            return []
        return list(rows_of(self._connection, query, response["id"]))

    def _add(
        self,
        role: messages_pb2.Role.ValueType,
        parts: list[messages_pb2.Part],
        response: Row,
        *,
        is_end: bool,
    ) -> None:
        if not parts:
            return
        message = messages_pb2.Message(role=role, status=_COMPLETE, parts=parts)
        stamp(message, response, self._conversation, is_end=is_end)
        self._conversation.messages.append(message)


def attachment(row: Row, conversation: Conversation) -> Iterator[messages_pb2.Part]:
    """Yield an attachment: an image that is in the file, else its name."""
    content, kind = row.get("content"), string(row, "type")
    if isinstance(content, bytes) and content and kind.startswith("image/"):
        part = images.inline_part(base64.b64encode(content).decode(), kind, conversation)
        yield from [part] if part is not None else []
        return
    conversation.note(images.ADDRESS_NOTE)
    yield text_part(f"\n[attachment: {string(row, 'path', 'url', 'id') or 'unnamed'}]")


def stamp(message: messages_pb2.Message, turn: Row, conversation: Conversation, *, is_end: bool) -> None:
    """Give a question the moment when it was asked, and an answer that of its end, with model and usage."""
    set_time(message, "create_time", turn.get("datetime_utc"), conversation)
    if not is_end:
        return
    message.model = string(turn, "resolved_model", "model")
    if isinstance(turn.get("duration_ms"), int) and message.HasField("create_time"):
        message.create_time.FromNanoseconds(message.create_time.ToNanoseconds() + turn["duration_ms"] * 10**6)
    for name in ("input_tokens", "output_tokens"):
        if isinstance(turn.get(name), int) and 0 <= turn[name] < 2**53:
            setattr(message.usage, name, turn[name])
