"""What a client may rely on is named: every method that is served, and what requests may ask for beside."""

from __future__ import annotations

from oblix.v1 import (
    daemon_pb2,
    embeddings_pb2,
    endpoint_pb2,
    executions_pb2,
    models_pb2,
    monitor_pb2,
    sessions_pb2,
)

from oblixd.rpc.daemon import CAPABILITIES

FILES = (daemon_pb2, embeddings_pb2, endpoint_pb2, executions_pb2, models_pb2, monitor_pb2, sessions_pb2)
OF_THEIR_OWN = {
    "AttachExecution": "executions.attach",
    "ExplainRoute": "executions.explain",
    "PullModel": "models.pull",
    "GetHistory": "monitor.history",
    "BackupStore": "sessions.backup",
    "DeleteMessages": "sessions.edit",
    "EditMessage": "sessions.edit",
    "ExcludeMessages": "sessions.edit",
    "IncludeMessages": "sessions.edit",
    "ListMessageVersions": "sessions.edit",
    "CopySession": "sessions.copy",
    "MergeSessions": "sessions.copy",
    "ImportSessions": "sessions.import",
    "ExportSessions": "sessions.import",
    "PruneSessions": "sessions.prune",
    "SearchMessages": "sessions.search",
    "UndeleteSession": "sessions.undelete",
    "WatchSessions": "sessions.watch",
    "GetConfig": "config",
    "GetMetrics": "metrics",
    "GetUsage": "usage",
    "ReloadConfig": "config",
}
PLAIN = {
    "endpoint": {
        "OpenEndpoint",
        "GetEndpoint",
        "CloseEndpoint",
        "CreateToken",
        "ListTokens",
        "RevokeToken",
    },
    "embeddings": {"EmbedTexts"},
    "executions": {"Execute", "CancelExecution", "ListExecutions"},
    "models": {"HookModel", "UnhookModel", "ListModels", "GetModel"},
    "monitor": {"GetSnapshot", "WatchSnapshots"},
    "sessions": {
        "CreateSession",
        "GetSession",
        "ListSessions",
        "UpdateSession",
        "DeleteSession",
        "AppendMessages",
        "ListMessages",
    },
}
ALWAYS = {"GetInfo", "Shutdown"}
IN_REQUESTS = {
    f"executions.{word}" for word in ("idempotent", "images", "priority", "schema", "timeout", "tools")
} | {"sessions.named"}


def test_every_method_belongs_to_a_capability_and_every_capability_is_there() -> None:
    served = {
        method.name
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert served == ALWAYS.union(OF_THEIR_OWN, *PLAIN.values())
    assert set(CAPABILITIES) == IN_REQUESTS.union(OF_THEIR_OWN.values(), PLAIN)


def test_they_are_in_order_and_each_is_named_once() -> None:
    assert list(CAPABILITIES) == sorted(set(CAPABILITIES))
