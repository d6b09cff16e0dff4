"""What is done to sessions in the background: retention, and the end of deleted ones."""

from __future__ import annotations

import asyncio
import logging

from oblix.v1.sessions_pb2 import PruneSessionsRequest

from oblixd.errors import OblixdError
from oblixd.sessions.deletion import purge
from oblixd.sessions.ledger import Ledger
from oblixd.sessions.retention import prune
from oblixd.sessions.rules import Keeping

logger = logging.getLogger(__name__)

PAUSE_S = 3600.0
"""Days are what it goes by: an hour later is soon enough."""


async def keep_up(ledger: Ledger, keeping: Keeping) -> None:
    """Looks after the sessions every hour, until it is cancelled."""
    while True:
        try:
            await once(ledger, keeping)
        except OblixdError as error:
            logger.warning("retention could not be applied: %s It is tried again in an hour.", error.message)
        await asyncio.sleep(PAUSE_S)


async def once(ledger: Ledger, keeping: Keeping) -> None:
    """Applies every session's retention, then lets go of what was deleted long ago."""
    pruned = await prune(ledger, keeping, PruneSessionsRequest())
    purged = await purge(ledger, keeping.deleted_days)
    if pruned.total_count or purged:
        logger.info("retention: %d sessions archived or deleted, %d purged", pruned.total_count, purged)
