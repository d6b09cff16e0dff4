"""One turn of a conversation: context, route, stream, record."""

from oblixd.execution.executions import Executions

__all__ = ["Executions"]
