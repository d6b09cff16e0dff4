"""The settings by which other people's tools find the HTTP endpoint, one entry a tool.

Seen with the versions that docs/how-to/connect-a-tool.md lists. `{url}` stands for the endpoint's base URL,
`{token}` for the tool's token, `{model}` for the model's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TOKEN_VARIABLE = "OBLIX_TOKEN"  # noqa: S105 - the name of a variable
"""Where a tool that reads its key from a variable of its own choice finds the token."""


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """How one tool is told."""

    title: str
    command: tuple[str, ...] = ()
    """What `oblix run` starts, before the person's own arguments. Empty: it can't be started from a shell."""
    environment: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    """The tool's own file, below the home directory. Empty: none is needed."""
    text: str = ""
    """What stands in the file; for a tool without a file, what a person enters."""
    note: str = ""
    """What else a person has to know."""


_CODEX = """model_provider = "oblix"
model = "{model}"

[model_providers.oblix]
name = "Oblix"
base_url = "{url}/v1"
env_key = "OBLIX_TOKEN"
wire_api = "responses"
"""
_OPENCODE = """{{
  "$schema": "https://opencode.ai/config.json",
  "provider": {{
    "oblix": {{
      "npm": "@ai-sdk/openai-compatible",
      "name": "Oblix",
      "options": {{"baseURL": "{url}/v1", "apiKey": "{{env:OBLIX_TOKEN}}"}},
      "models": {{"{model}": {{"name": "{model}"}}}}
    }}
  }},
  "model": "oblix/{model}"
}}
"""
_CRUSH = """{{
  "providers": {{
    "oblix": {{
      "type": "openai-compat",
      "base_url": "{url}/v1",
      "api_key": "$OBLIX_TOKEN",
      "models": [{{"id": "{model}", "name": "{model}", "context_window": 8192, "default_max_tokens": 2048}}]
    }}
  }}
}}
"""
_PI = """{{
  "providers": {{
    "oblix": {{
      "baseUrl": "{url}/v1",
      "api": "openai-completions",
      "apiKey": "$OBLIX_TOKEN",
      "models": [{{"id": "{model}"}}]
    }}
  }}
}}
"""
_CONTINUE = """name: Oblix
version: 0.0.1
schema: v1
models:
  - name: Oblix
    provider: openai
    model: {model}
    apiBase: {url}/v1
    apiKey: {token}
"""
_VIBE = """active_model = "oblix"

[[providers]]
name = "oblix"
api_base = "{url}/v1"
api_key_env_var = "OBLIX_TOKEN"
api_style = "openai"
backend = "generic"

[models.oblix]
name = "{model}"
provider = "oblix"
alias = "oblix"
"""
_LLM = """- model_id: oblix
  model_name: {model}
  api_base: {url}/v1
  api_key_name: oblix
  supports_tools: true
  supports_schema: true
"""
_ZED = """{{
  "language_models": {{
    "openai_compatible": {{
      "Oblix": {{
        "api_url": "{url}/v1",
        "available_models": [{{"name": "{model}", "display_name": "Oblix", "max_tokens": 8192}}]
      }}
    }}
  }}
}}
"""
_CODECOMPANION = """require("codecompanion").setup({{
  adapters = {{
    http = {{
      oblix = function()
        return require("codecompanion.adapters").extend("openai_compatible", {{
          formatted_name = "Oblix",
          env = {{ url = "{url}", api_key = "OBLIX_TOKEN" }},
          schema = {{ model = {{ default = "{model}", choices = {{ "{model}" }} }} }},
        }})
      end,
    }},
  }},
  interactions = {{ chat = {{ adapter = "oblix" }}, inline = {{ adapter = "oblix" }} }},
}})
"""
_OPENAI = {"OPENAI_BASE_URL": "{url}/v1", "OPENAI_API_KEY": "{token}"}
_BY_VARIABLE = {TOKEN_VARIABLE: "{token}"}
_PROVIDER = "model_providers.oblix"

TOOLS: Mapping[str, ToolSettings] = {
    "aider": ToolSettings(
        "aider",
        ("aider", "--model", "openai/{model}"),
        {"OPENAI_API_BASE": "{url}/v1", "OPENAI_API_KEY": "{token}"},
    ),
    "claude": ToolSettings(
        "Claude Code",
        ("claude", "--model", "{model}"),
        {"ANTHROPIC_BASE_URL": "{url}", "ANTHROPIC_AUTH_TOKEN": "{token}"},
    ),
    "cline": ToolSettings(
        "Cline",
        note="In the editor, under Cline's settings: API provider OpenAI Compatible, base URL {url}/v1, "
        "API key {token}, model {model}.\n"
        "In a shell: cline auth openai -b {url}/v1 -k {token} -m {model}",
    ),
    "codex": ToolSettings(
        "codex",
        (
            "codex",
            *(
                "-c",
                f'{_PROVIDER}={{name="Oblix",base_url="{{url}}/v1",env_key="OBLIX_TOKEN",wire_api="responses"}}',
            ),
            *("-c", "model_provider=oblix", "-c", "model={model}"),
        ),
        _BY_VARIABLE,
        ".codex/oblix.config.toml",
        _CODEX,
        "Then start it as `codex -p oblix`.",
    ),
    "continue": ToolSettings("Continue", ("cn",), file=".continue/config.yaml", text=_CONTINUE),
    "crush": ToolSettings("crush", ("crush",), _BY_VARIABLE, ".config/crush/crush.json", _CRUSH),
    "gptme": ToolSettings("gptme", ("gptme", "-m", "local/{model}"), _OPENAI),
    "llm": ToolSettings(
        "llm",
        file=".config/io.datasette.llm/extra-openai-models.yaml",
        text=_LLM,
        note="Then run `llm keys set oblix --value {token}` and ask with `llm -m oblix`.",
    ),
    "neovim": ToolSettings(
        "Neovim with CodeCompanion", environment=_BY_VARIABLE, text=_CODECOMPANION, note="In your init.lua."
    ),
    "open-webui": ToolSettings(
        "Open WebUI",
        ("open-webui", "serve"),
        {"OPENAI_API_BASE_URL": "{url}/v1", "OPENAI_API_KEY": "{token}", "ENABLE_OLLAMA_API": "false"},
    ),
    "opencode": ToolSettings(
        "opencode",
        ("opencode",),
        {**_BY_VARIABLE, "OPENCODE_CONFIG_CONTENT": _OPENCODE},
        ".config/opencode/opencode.json",
        _OPENCODE,
    ),
    "pi": ToolSettings(
        "pi", ("pi", "--provider", "oblix", "--model", "{model}"), _BY_VARIABLE, ".pi/agent/models.json", _PI
    ),
    "qwen-code": ToolSettings(
        "Qwen Code", ("qwen", "--auth-type", "openai"), {**_OPENAI, "OPENAI_MODEL": "{model}"}
    ),
    "vibe": ToolSettings("Mistral Vibe", ("vibe",), _BY_VARIABLE, ".vibe/config.toml", _VIBE),
    "zed": ToolSettings(
        "Zed",
        environment={"OBLIX_API_KEY": "{token}"},
        file=".config/zed/settings.json",
        text=_ZED,
    ),
}
"""By the name that a person gives."""
WRITES_NOTHING = frozenset({"continue", "crush", "pi", "vibe"})
"""Tools that are told by their file alone: `oblix run` needs it to be there."""
OTHER_NAMES = {"mistral-vibe": "vibe", "qwen": "qwen-code", "cn": "continue", "claude-code": "claude"}
"""What people call tools as well: their packages and commands."""
