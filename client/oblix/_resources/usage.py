"""The request for a report of what was used."""

from __future__ import annotations

from datetime import date

from oblix._convert.validation import describe, invalid, session_id_of, text
from oblix.v1 import daemon_pb2

_GROUPS = {
    "model": daemon_pb2.USAGE_GROUP_MODEL,
    "day": daemon_pb2.USAGE_GROUP_DAY,
    "client": daemon_pb2.USAGE_GROUP_CLIENT,
    "session": daemon_pb2.USAGE_GROUP_SESSION,
}


def usage_request(
    by: object, first_day: object, last_day: object, session: object, model: object
) -> daemon_pb2.GetUsageRequest:
    """Return the request. Raises InvalidArgumentError."""
    if not isinstance(by, str) or by not in _GROUPS:
        raise invalid("by", "one of " + ", ".join(_GROUPS), describe(by))
    return daemon_pb2.GetUsageRequest(
        first_day=_day(first_day, "first_day"),
        last_day=_day(last_day, "last_day"),
        group=_GROUPS[by],
        session_id=session_id_of(session) if session else "",
        model=text(model or "", "model"),
    )


def _day(day: object, field: str) -> str:
    return day.isoformat() if isinstance(day, date) else text(day or "", field)
