"""Connections to models: one file a provider, a registry of hooks, the embedded model's worker."""

from oblixd.models.base import (
    ChatRequest,
    Connection,
    Content,
    ContentKind,
    Finish,
    Finished,
    Location,
    ModelError,
    ModelErrorKind,
    Options,
    Reasoning,
    State,
    Status,
    Tool,
    ToolCall,
    ToolChoice,
)
from oblixd.models.hook_spec import HookSpec
from oblixd.models.pulls import Progress, Pulls
from oblixd.models.registry import Hook, Registry
from oblixd.models.tokens import TokenCalibration, TokenCounter, Tokeniser, estimate, estimate_tools

__all__ = [
    "ChatRequest",
    "Connection",
    "Content",
    "ContentKind",
    "Finish",
    "Finished",
    "Hook",
    "HookSpec",
    "Location",
    "ModelError",
    "ModelErrorKind",
    "Options",
    "Progress",
    "Pulls",
    "Reasoning",
    "Registry",
    "State",
    "Status",
    "TokenCalibration",
    "TokenCounter",
    "Tokeniser",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "estimate",
    "estimate_tools",
]
