"""Messages that call tools, and that bring their results."""

from __future__ import annotations

from oblix.v1 import messages_pb2 as pb


def call(*call_ids: str) -> pb.Message:
    """An assistant's message that calls tools."""
    calls = [pb.ToolCallPart(call_id=name, name="look", arguments_json="{}") for name in call_ids]
    return pb.Message(role=pb.ROLE_ASSISTANT, parts=[pb.Part(tool_call=made) for made in calls])


def result(*call_ids: str) -> pb.Message:
    """A message with the results of tools."""
    results = [pb.ToolResultPart(call_id=name, content=name) for name in call_ids]
    return pb.Message(role=pb.ROLE_TOOL, parts=[pb.Part(tool_result=made) for made in results])
