"""Who runs when: slots at a model, fair queues, one turn at a time in a session, cancelling."""

from oblixd.scheduling.cancel_scope import CancelScope, Stopped, StopReason
from oblixd.scheduling.session_queue import TurnQueue
from oblixd.scheduling.slots import QUEUE_LENGTH, ModelSlots, Priority, Ticket

__all__ = [
    "QUEUE_LENGTH",
    "CancelScope",
    "ModelSlots",
    "Priority",
    "StopReason",
    "Stopped",
    "Ticket",
    "TurnQueue",
]
