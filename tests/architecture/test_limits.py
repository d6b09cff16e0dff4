"""A limit that the client checks, too, is the daemon's."""

from __future__ import annotations

from oblix import limits

from oblixd.execution import validation as of_executions
from oblixd.sessions import validation as of_sessions
from oblixd.sessions.storage import retention_rules


def test_the_clients_limits_are_the_daemons() -> None:
    daemon = {
        "MAX_TOKENS": of_executions.MAX_TOKENS,
        "MAX_TIMEOUT_S": of_executions.MAX_TIMEOUT_S,
        "MAX_TEMPERATURE": of_executions.MAX_TEMPERATURE,
        "MAX_MESSAGE_BYTES": of_sessions.MAX_MESSAGE_BYTES,
        "MAX_PARTS": of_sessions.MAX_PARTS,
        "MAX_ID_CHARACTERS": of_sessions.MAX_ID_CHARACTERS,
        "MAX_TITLE_CHARACTERS": of_sessions.MAX_TITLE_CHARACTERS,
        "MAX_DAYS": retention_rules.MAX_DAYS,
        "LARGEST_PAGE": of_sessions.MAX_PAGE_SIZE,
        "MAX_LEVELS": of_sessions.MAX_LEVELS,
        "MAX_KEYS": of_sessions.MAX_KEYS,
        "MAX_JSON_BYTES": of_sessions.MAX_JSON_BYTES,
        "MAX_INTEGER": of_sessions.MAX_INTEGER,
    }
    ours = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert ours == daemon
