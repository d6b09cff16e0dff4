"""Connections to models: one file a provider, a registry of hooks, the embedded model's worker."""

from oblixd.models.base import (
    ChatMessage,
    ChatRequest,
    Connection,
    Content,
    ContentKind,
    Embeddings,
    EmbedRequest,
    Finish,
    Finished,
    Location,
    ModelError,
    ModelErrorKind,
    Options,
    Reasoning,
    RequestTokens,
    Seal,
    State,
    Status,
    Tool,
    ToolCall,
    ToolChoice,
)
from oblixd.models.content_refusals import IMAGE_REFUSED, ContentRefusal, content_refusal, share_that_fits
from oblixd.models.encoding import plain_message
from oblixd.models.hook_spec import HookSpec
from oblixd.models.providers.provider_state import ANY_CLAUDE, MessageState, claude_thoughts
from oblixd.models.pulls import Progress, Pulls
from oblixd.models.registry import Hook, Registry
from oblixd.models.tokens import TokenCalibration, TokenCounter, Tokeniser, estimate, estimate_tools

__all__ = [
    "ANY_CLAUDE",
    "IMAGE_REFUSED",
    "ChatMessage",
    "ChatRequest",
    "Connection",
    "Content",
    "ContentKind",
    "ContentRefusal",
    "EmbedRequest",
    "Embeddings",
    "Finish",
    "Finished",
    "Hook",
    "HookSpec",
    "Location",
    "MessageState",
    "ModelError",
    "ModelErrorKind",
    "Options",
    "Progress",
    "Pulls",
    "Reasoning",
    "Registry",
    "RequestTokens",
    "Seal",
    "State",
    "Status",
    "TokenCalibration",
    "TokenCounter",
    "Tokeniser",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "claude_thoughts",
    "content_refusal",
    "estimate",
    "estimate_tools",
    "plain_message",
    "share_that_fits",
]
