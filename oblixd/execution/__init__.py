"""One turn of a conversation: context, route, stream, record."""

from oblixd.execution.client import ClientInfo
from oblixd.execution.errors import attempt, to_client
from oblixd.execution.service import Executions

__all__ = [
    "ClientInfo",
    "Executions",
    "attempt",
    "to_client",
]
