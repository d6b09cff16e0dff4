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
    RequestTokens,
    State,
    Status,
    Tool,
    ToolCall,
    ToolChoice,
)
from oblixd.models.content_refusals import IMAGE_REFUSED, ContentRefusal, content_refusal, share_that_fits
from oblixd.models.hook_spec import HookSpec
from oblixd.models.pulls import Progress, Pulls
from oblixd.models.registry import Hook, Registry
from oblixd.models.tokens import TokenCalibration, TokenCounter, Tokeniser, estimate, estimate_tools

__all__ = [
    "IMAGE_REFUSED",
    "ChatRequest",
    "Connection",
    "Content",
    "ContentKind",
    "ContentRefusal",
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
    "RequestTokens",
    "State",
    "Status",
    "TokenCalibration",
    "TokenCounter",
    "Tokeniser",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "content_refusal",
    "estimate",
    "estimate_tools",
    "share_that_fits",
]
