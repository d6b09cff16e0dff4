"""Talk to language models through `oblixd`, the daemon that all programs of a workstation share.

>>> import oblix
>>> with oblix.Client() as client:
...     answer = client.execute("Why is the sky blue?")

`AsyncClient` is the same for programs that use asyncio. `OblixClient` is the client of the session guide.
Importing this package loads nothing else: each name is loaded when it is first used.
"""

from __future__ import annotations

# `typing` alone would take a third of the time that `oblix --version` takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from oblix._async.items import (
        AsyncItems,
    )
    from oblix._sync.items import (
        Items,
    )
    from oblix.agents import (
        BaseAgent,
        ConnectivityAgent,
        ResourceMonitor,
    )
    from oblix.answers import (
        AgentChecks,
        Answer,
        Candidate,
        ContextReport,
        Decision,
        Embeddings,
        ExcludedMessage,
        Execution,
        FailedAttempt,
        Reading,
        Turn,
        TurnError,
    )
    from oblix.async_client import (
        AsyncClient,
    )
    from oblix.changes import (
        Change,
        ResyncRequired,
        SessionChanged,
        SessionRemoved,
        Synced,
    )
    from oblix.client import (
        OblixClient,
    )
    from oblix.errors import (
        AbortedError,
        AgentRefusedError,
        AlreadyExistsError,
        CallCancelledError,
        DaemonStartError,
        DataLossError,
        DeadlineExceededError,
        FailedPreconditionError,
        InternalError,
        InvalidAnswerError,
        InvalidArgumentError,
        NotFoundError,
        OblixError,
        PermissionDeniedError,
        ResourceExhaustedError,
        UnauthenticatedError,
        UnavailableError,
        UnimplementedError,
    )
    from oblix.events import (
        Completed,
        Delta,
        Event,
        Queued,
        Rerouted,
        Started,
    )
    from oblix.models import (
        ModelType,
    )
    from oblix.options import (
        ContentPart,
        EmbedOptions,
        ExecuteOptions,
        MessageInput,
        ModelOptions,
        Prompt,
        RoutingOptions,
        Tool,
        ToolCallInput,
        ToolDefinition,
        ToolResult,
        WritingOptions,
    )
    from oblix.reasons import (
        Reason,
    )
    from oblix.reports import (
        Budget,
        DaemonInfo,
        ImportedSession,
        ImportReport,
        Model,
        PrunedSession,
        PruneReport,
        PruneResult,
        PullProgress,
        Snapshot,
        UsageReport,
        UsageRow,
        UsageSummary,
    )
    from oblix.results import (
        Conversation,
        Exclusion,
        ImagePart,
        Message,
        Part,
        ProviderState,
        ReasoningPart,
        Retention,
        SearchHit,
        Session,
        TextPart,
        Timings,
        ToolCall,
        ToolCallPart,
        ToolResultPart,
        Usage,
    )
    from oblix.sync_client import (
        Client,
    )

__all__ = [
    "AbortedError",
    "AgentChecks",
    "AgentRefusedError",
    "AlreadyExistsError",
    "Answer",
    "AsyncClient",
    "AsyncItems",
    "BaseAgent",
    "Budget",
    "CallCancelledError",
    "Candidate",
    "Change",
    "Client",
    "Completed",
    "ConnectivityAgent",
    "ContentPart",
    "ContextReport",
    "Conversation",
    "DaemonInfo",
    "DaemonStartError",
    "DataLossError",
    "DeadlineExceededError",
    "Decision",
    "Delta",
    "EmbedOptions",
    "Embeddings",
    "Event",
    "ExcludedMessage",
    "Exclusion",
    "ExecuteOptions",
    "Execution",
    "FailedAttempt",
    "FailedPreconditionError",
    "ImagePart",
    "ImportReport",
    "ImportedSession",
    "InternalError",
    "InvalidAnswerError",
    "InvalidArgumentError",
    "Items",
    "Message",
    "MessageInput",
    "Model",
    "ModelOptions",
    "ModelType",
    "NotFoundError",
    "OblixClient",
    "OblixError",
    "Part",
    "PermissionDeniedError",
    "Prompt",
    "ProviderState",
    "PruneReport",
    "PruneResult",
    "PrunedSession",
    "PullProgress",
    "Queued",
    "Reading",
    "Reason",
    "ReasoningPart",
    "Rerouted",
    "ResourceExhaustedError",
    "ResourceMonitor",
    "ResyncRequired",
    "Retention",
    "RoutingOptions",
    "SearchHit",
    "Session",
    "SessionChanged",
    "SessionRemoved",
    "Snapshot",
    "Started",
    "Synced",
    "TextPart",
    "Timings",
    "Tool",
    "ToolCall",
    "ToolCallInput",
    "ToolCallPart",
    "ToolDefinition",
    "ToolResult",
    "ToolResultPart",
    "Turn",
    "TurnError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "Usage",
    "UsageReport",
    "UsageRow",
    "UsageSummary",
    "WritingOptions",
]

_MODULES = {
    "_async.items": "AsyncItems",
    "_sync.items": "Items",
    "agents": "BaseAgent ConnectivityAgent ResourceMonitor",
    "answers": (
        "AgentChecks Answer Candidate ContextReport Decision Embeddings ExcludedMessage Execution "
        "FailedAttempt Reading Turn TurnError"
    ),
    "async_client": "AsyncClient",
    "changes": "Change ResyncRequired SessionChanged SessionRemoved Synced",
    "client": "OblixClient",
    "events": "Completed Delta Event Queued Rerouted Started",
    "models": "ModelType",
    "options": (
        "ContentPart EmbedOptions ExecuteOptions MessageInput ModelOptions Prompt RoutingOptions Tool "
        "ToolCallInput ToolDefinition ToolResult WritingOptions"
    ),
    "reasons": "Reason",
    "reports": (
        "Budget DaemonInfo ImportReport ImportedSession Model PruneReport PruneResult PrunedSession "
        "PullProgress Snapshot UsageReport UsageRow UsageSummary"
    ),
    "results": (
        "Conversation Exclusion ImagePart Message Part ProviderState ReasoningPart Retention "
        "SearchHit Session TextPart Timings ToolCall ToolCallPart ToolResultPart Usage"
    ),
    "sync_client": "Client",
}
"""Where each name is, the errors left out."""
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - not before a name is used

    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
