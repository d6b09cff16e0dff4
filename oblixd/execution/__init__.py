"""One turn of a conversation: context, route, stream, record."""

from oblixd.execution.errors import attempt, to_client
from oblixd.execution.service import Executions
from oblixd.execution.services import ClientInfo
from oblixd.execution.validation import new_request_id

__all__ = [
    "ClientInfo",
    "Executions",
    "attempt",
    "new_request_id",
    "to_client",
]
