"""Who serves a model."""

from __future__ import annotations

import enum


class ModelType(enum.StrEnum):
    """Who serves a model. The value is the first half of a model id: `ollama:llama2`."""

    EMBEDDED = "embedded"
    """A GGUF file that the daemon itself serves. Needs no server and no key."""
    OLLAMA = "ollama"
    """An Ollama server; on this machine unless the endpoint says otherwise."""
    OPENAI = "openai"
    """OpenAI's chat completions. The key comes from `OPENAI_API_KEY` where none is given."""
    CLAUDE = "claude"
    """Anthropic's messages. The key comes from `ANTHROPIC_API_KEY` where none is given."""
    CUSTOM = "custom"
    """Any other endpoint that speaks OpenAI's chat completions. `location` says where it runs."""
