"""What an execution costs: written with its answer, and counted in the books."""

from __future__ import annotations

from oblix.v1 import executions_pb2 as pb
from oblix.v1 import messages_pb2

from oblixd.execution.caller import Caller
from oblixd.models.base import Location
from oblixd.models.registry import Hook
from oblixd.usage import Price, Usage, UsageEntry


class Billing:
    """The books, as one execution sees them."""

    def __init__(self, usage: Usage, request: pb.ExecuteRequest, caller: Caller) -> None:
        self._usage = usage
        self._request = request
        self._caller = caller

    def price(self, message: messages_pb2.Message, hook: Hook) -> None:
        """Write into an answer what it cost, where that is known."""
        usage = message.usage
        told = message.HasField("usage")
        cost = self._usage.cost(
            hook.id,
            usage.input_tokens if told else None,
            usage.output_tokens if told else None,
            is_local=_is_local(hook),
            own=price_of(hook),
        )
        if cost is not None and told:
            usage.cost = cost

    async def count(self, message: messages_pb2.Message) -> None:
        """Count an answer, durably: once for each request id, however often it is told."""
        if not message.model:
            return
        usage = message.usage if message.HasField("usage") else None
        entry = UsageEntry(
            request_id=self._request.request_id,
            model=message.model,
            program=self._caller.program_name,
            session_id=self._request.session_id,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            cost=usage.cost if usage and usage.HasField("cost") else None,
        )
        await self._usage.add(entry)


def price_of(hook: Hook) -> Price | None:
    """The price that a model was hooked with. None: the configuration's counts."""
    own = hook.spec.options.price
    return Price(own.input, own.output) if own else None


def _is_local(hook: Hook) -> bool:
    return hook.connection.location is Location.LOCAL
