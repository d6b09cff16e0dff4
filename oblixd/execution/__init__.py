"""One turn of a conversation: context, route, stream, record."""

from oblixd.execution.embedding import EmbeddedTexts
from oblixd.execution.errors import attempt, to_client
from oblixd.execution.service import Executions
from oblixd.execution.services import ClientInfo
from oblixd.execution.validation import check, new_request_id

__all__ = [
    "ClientInfo",
    "EmbeddedTexts",
    "Executions",
    "attempt",
    "check",
    "new_request_id",
    "to_client",
]
