"""Servers that people have: where each listens, how it wants its key, and what is special about it.

A preset is only a way to write a `[[models]]` table or a hook in few words. Nothing in the daemon knows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from oblix.models import ModelType

Key = Literal["needed", "optional", "none"]


@dataclass(frozen=True, slots=True)
class Preset:
    """A kind of server."""

    title: str
    """What its makers call it."""
    provider: ModelType
    endpoint: str
    """Where it is. Empty: everybody has one of their own."""
    key: Key = "needed"
    variable: str = ""
    """The variable of the environment that its own programs read the key from."""
    keys_at: str = ""
    """The page where a key is made."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What a model of it is given."""
    example: str = ""
    """A model's name, for the help."""


_CUSTOM = ModelType.CUSTOM
PRESETS: Mapping[str, Preset] = {
    "ollama": Preset("Ollama", ModelType.OLLAMA, "http://localhost:11434", "none", example="llama3.2"),
    "lmstudio": Preset("LM Studio", _CUSTOM, "http://localhost:1234/v1", "none", example="qwen3-8b"),
    "llamacpp": Preset("llama.cpp", _CUSTOM, "http://localhost:8080/v1", "optional", example="default"),
    "vllm": Preset("vLLM", _CUSTOM, "http://localhost:8000/v1", "optional", example="Qwen/Qwen3-8B"),
    "openai": Preset(
        *("OpenAI", ModelType.OPENAI, "https://api.openai.com/v1", "needed", "OPENAI_API_KEY"),
        keys_at="https://platform.openai.com/api-keys",
        example="gpt-4o-mini",
    ),
    "claude": Preset(
        *("Claude", ModelType.CLAUDE, "https://api.anthropic.com", "needed", "ANTHROPIC_API_KEY"),
        keys_at="https://console.anthropic.com/settings/keys",
        example="claude-3-5-haiku-latest",
    ),
    "openrouter": Preset(
        *("OpenRouter", _CUSTOM, "https://openrouter.ai/api/v1", "needed", "OPENROUTER_API_KEY"),
        keys_at="https://openrouter.ai/keys",
        example="meta-llama/llama-3.3-70b-instruct",
    ),
    "groq": Preset(
        *("Groq", _CUSTOM, "https://api.groq.com/openai/v1", "needed", "GROQ_API_KEY"),
        keys_at="https://console.groq.com/keys",
        example="llama-3.3-70b-versatile",
    ),
    "mistral": Preset(
        *("Mistral", _CUSTOM, "https://api.mistral.ai/v1", "needed", "MISTRAL_API_KEY"),
        keys_at="https://console.mistral.ai/api-keys",
        # It tells the counts unasked, and refuses fields that it does not know.
        options={"omit": ["stream_options", "seed"]},
        example="mistral-small-latest",
    ),
    "deepseek": Preset(
        *("DeepSeek", _CUSTOM, "https://api.deepseek.com/v1", "needed", "DEEPSEEK_API_KEY"),
        keys_at="https://platform.deepseek.com/api_keys",
        example="deepseek-chat",
    ),
    "gemini": Preset(
        "Gemini",
        _CUSTOM,
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "needed",
        "GEMINI_API_KEY",
        keys_at="https://aistudio.google.com/apikey",
        example="gemini-2.5-flash",
    ),
    "azure": Preset(
        *("Azure OpenAI", ModelType.OPENAI, "", "needed", "AZURE_OPENAI_API_KEY"),
        keys_at="https://portal.azure.com",
        example="my-deployment",
    ),
    "together": Preset(
        *("Together", _CUSTOM, "https://api.together.xyz/v1", "needed", "TOGETHER_API_KEY"),
        keys_at="https://api.together.ai/settings/api-keys",
        example="meta-llama/Llama-3.3-70B-Instruct-Turbo",
    ),
    "xai": Preset(
        *("xAI", _CUSTOM, "https://api.x.ai/v1", "needed", "XAI_API_KEY"),
        keys_at="https://console.x.ai",
        example="grok-4",
    ),
    "custom": Preset("Another server", _CUSTOM, "", "optional", example="any"),
}
"""By the word that stands before the colon in `oblix models add WORD:NAME`."""


def table_of(word: str, name: str, *, endpoint: str = "") -> dict[str, Any]:
    """Give the `[[models]]` table of a model of this kind, still without a key."""
    preset = PRESETS[word]
    table: dict[str, Any] = {"name": name, "provider": preset.provider.value, **preset.options}
    where = endpoint or preset.endpoint
    # The daemon knows where these are, and the configuration may say it once for all.
    if endpoint or (where and preset.provider is _CUSTOM):
        table["endpoint"] = where
    if preset.provider is _CUSTOM:
        table["location"] = "local" if is_here(where) else "cloud"
    return table


def is_here(endpoint: str) -> bool:
    """Return whether an endpoint's host is this machine by its name or address. What is no URL is not."""
    import ipaddress  # noqa: PLC0415 - only who adds a model needs it

    try:
        host = urlsplit(endpoint).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
