"""Talk to language models through `oblixd`, the daemon that all programs of a workstation share.

>>> from oblix import OblixClient
>>> client = OblixClient()
>>> answer = await client.execute("Why is the sky blue?")

Importing this package loads nothing else: each name is loaded when it is first used.
"""

from __future__ import annotations

# `typing` alone would take a third of the time that `oblix --version` takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from oblix.agents import BaseAgent, ConnectivityAgent, ResourceMonitor
    from oblix.changes import Change, ResyncRequired, SessionChanged, SessionRemoved, Synced
    from oblix.client import OblixClient
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
        InvalidArgumentError,
        NotFoundError,
        OblixError,
        PermissionDeniedError,
        ResourceExhaustedError,
        UnauthenticatedError,
        UnavailableError,
        UnimplementedError,
    )
    from oblix.events import Completed, Delta, Event, Queued, Rerouted, Started
    from oblix.models import ModelType
    from oblix.reports import ImportedSession, ImportReport, PruneReport, UsageReport

__all__ = [
    "AbortedError",
    "AgentRefusedError",
    "AlreadyExistsError",
    "BaseAgent",
    "CallCancelledError",
    "Change",
    "Completed",
    "ConnectivityAgent",
    "DaemonStartError",
    "DataLossError",
    "DeadlineExceededError",
    "Delta",
    "Event",
    "FailedPreconditionError",
    "ImportReport",
    "ImportedSession",
    "InternalError",
    "InvalidArgumentError",
    "ModelType",
    "NotFoundError",
    "OblixClient",
    "OblixError",
    "PermissionDeniedError",
    "PruneReport",
    "Queued",
    "Rerouted",
    "ResourceExhaustedError",
    "ResourceMonitor",
    "ResyncRequired",
    "SessionChanged",
    "SessionRemoved",
    "Started",
    "Synced",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UsageReport",
]

_HOMES = {
    "OblixClient": "client",
    "ModelType": "models",
    **dict.fromkeys(["BaseAgent", "ConnectivityAgent", "ResourceMonitor"], "agents"),
    **dict.fromkeys(["ImportReport", "ImportedSession", "PruneReport", "UsageReport"], "reports"),
    **dict.fromkeys(["Change", "ResyncRequired", "SessionChanged", "SessionRemoved", "Synced"], "changes"),
    **dict.fromkeys(["Completed", "Delta", "Event", "Queued", "Rerouted", "Started"], "events"),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - not before a name is used

    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
