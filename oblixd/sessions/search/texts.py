"""What of a message is searched: what people and tools said."""

from __future__ import annotations

from oblixd.store.v1 import records_pb2 as records


def text_of(record: records.MessageRecord) -> str:
    """The text parts and what tools answered, each on lines of its own. No thinking, no tool calls."""
    return "\n".join(filter(None, map(_part_text, record.parts)))


def _part_text(part: records.PartRecord) -> str:
    return part.tool_result.content if part.HasField("tool_result") else part.text
