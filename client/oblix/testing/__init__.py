"""Model servers for tests: real sockets, real wire formats, and every way to misbehave.

Point your program, or Oblix itself, at one of them; no model, key or network
is needed. Standard library only.

    from oblix.testing import Answer, Cut, OllamaServer

    with OllamaServer(["llama2"]) as server:
        server.script("Hello!", Answer("This one breaks off.", fault=Cut(after=2)))
        await client.hook_model(ModelType.OLLAMA, "llama2", endpoint=server.url)

From a shell: python -m oblix.testing ollama --port 11434
"""

from oblix.testing.answers import Answer, ToolCall
from oblix.testing.claude import ClaudeServer
from oblix.testing.exchange import Received
from oblix.testing.faults import (
    Bomb,
    Cut,
    Dribble,
    End,
    Fault,
    Hang,
    HangUp,
    Insert,
    InsteadOfAnswer,
    InStream,
    Page,
    Refuse,
    Repeat,
    Report,
    Stall,
    Wire,
)
from oblix.testing.ollama import OllamaServer
from oblix.testing.openai import OpenAIServer
from oblix.testing.server import ModelServer

__all__ = [
    "Answer",
    "Bomb",
    "ClaudeServer",
    "Cut",
    "Dribble",
    "End",
    "Fault",
    "Hang",
    "HangUp",
    "InStream",
    "Insert",
    "InsteadOfAnswer",
    "ModelServer",
    "OllamaServer",
    "OpenAIServer",
    "Page",
    "Received",
    "Refuse",
    "Repeat",
    "Report",
    "Stall",
    "ToolCall",
    "Wire",
]
