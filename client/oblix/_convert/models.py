"""Models, usage, the daemon and its machine, as a client returns them."""

from __future__ import annotations

from oblix import reports
from oblix._convert import metrics
from oblix._convert.decoding import moment_of, name_of, session_of
from oblix._convert.records import ACTION_NAMES, seconds_of
from oblix._convert.values import from_struct
from oblix.v1 import daemon_pb2, models_pb2, monitor_pb2, routing_pb2, sessions_pb2


def model_of(model: models_pb2.Model) -> reports.Model:
    """Return a model with its state."""
    first = model.last_time_to_first_token
    return reports.Model(
        id=model.id,
        provider=name_of(models_pb2.Provider.DESCRIPTOR, model.provider),
        name=model.name,
        location=name_of(routing_pb2.Location.DESCRIPTOR, model.location),
        state=name_of(models_pb2.ModelState.DESCRIPTOR, model.state),
        state_reason=model.state_reason,
        endpoint=model.endpoint or None,
        handle=model.handle or None,
        has_api_key=model.has_api_key,
        context_window=model.context_window or None,
        running_count=model.running_count,
        queued_count=model.queued_count,
        max_running=model.max_running or None,
        tokens_per_second=model.tokens_per_second or None,
        last_time_to_first_token=seconds_of(first) if model.HasField("last_time_to_first_token") else None,
        cooldown_until=moment_of(model.cooldown_until) if model.HasField("cooldown_until") else None,
        limited_until=moment_of(model.limited_until) if model.HasField("limited_until") else None,
        features=tuple(model.features),
        memory_bytes=model.memory_bytes or None,
        options=dict(from_struct(model.options)),
    )


def pull_of(step: models_pb2.PullModelResponse) -> reports.PullProgress:
    """Return how far a pull is."""
    return reports.PullProgress(step.status, step.completed_bytes, step.total_bytes or None, step.digest)


def usage_summary(answer: daemon_pb2.GetUsageResponse) -> reports.UsageSummary:
    """Return what was used."""
    return reports.UsageSummary(
        tuple(map(_usage_row, answer.rows)),
        _usage_row(answer.total),
        answer.currency,
        tuple(reports.Budget(one.period, one.limit, one.spent, one.action) for one in answer.budgets),
    )


def snapshot_of(snapshot: monitor_pb2.Snapshot) -> reports.Snapshot:
    """Return what was measured."""
    return reports.Snapshot(
        moment_of(snapshot.sample_time) if snapshot.HasField("sample_time") else None,
        name_of(routing_pb2.ResourceState.DESCRIPTOR, snapshot.resource_state),
        name_of(routing_pb2.ConnectivityState.DESCRIPTOR, snapshot.connectivity.state),
        metrics.resources_of(snapshot),
        metrics.connectivity_of(snapshot),
    )


def info_of(info: daemon_pb2.GetInfoResponse) -> reports.DaemonInfo:
    """Return what the daemon says of itself."""
    return reports.DaemonInfo(
        info.version,
        info.pid,
        moment_of(info.start_time),
        tuple(info.capabilities),
        info.paths.socket,
        info.paths.data,
        info.paths.config,
        info.paths.log,
        info.session_count,
        info.running_count,
        info.client_count,
    )


def pruning_of(answer: sessions_pb2.PruneSessionsResponse) -> reports.PruneResult:
    """Return what a prune did."""
    pruned = [
        reports.PrunedSession(session_of(one.session), "delete" if one.action == _DELETE else "archive")
        for one in answer.sessions
    ]
    return reports.PruneResult(tuple(pruned), answer.total_count)


_DELETE = next(number for number, name in ACTION_NAMES.items() if name == "delete")


def _usage_row(row: daemon_pb2.UsageRow) -> reports.UsageRow:
    return reports.UsageRow(
        row.key, row.executions, row.input_tokens, row.output_tokens, row.cost, row.unpriced_executions
    )
