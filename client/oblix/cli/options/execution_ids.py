"""Ids of executions as a person reads and types them: a beginning that no other one has is enough."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import oblix
from oblix.cli.errors import CommandError

SHORTEST = 8
HELP = f"a request's id, as `oblix ps` prints it; its first {SHORTEST} characters or more will do"


def resolve(client: oblix.OblixClient, name: str) -> str:
    """Return the id of the one execution that begins so, else what was given: a session may know it yet.

    Raises CommandError where several begin so.
    """
    if len(name) < SHORTEST:
        return name
    known = [execution["request_id"] for execution in client.list_executions()]
    found = [request_id for request_id in known if request_id.startswith(name)]
    if name in found or not found:
        return name
    if len(found) > 1:
        raise CommandError(f"{len(found)} ids begin with {name}. `oblix ps | cat` prints them whole.")
    return str(found[0])


def short(request_ids: Sequence[str], least: int = SHORTEST) -> dict[str, str]:
    """Return each id's shortest unique beginning, of at least so many characters."""
    ordered = sorted(set(request_ids))
    needed = dict.fromkeys(ordered, least)
    for one, other in pairwise(ordered):
        length = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one)) + 1
        needed[one], needed[other] = max(needed[one], length), max(needed[other], length)
    return {request_id: request_id[:length] for request_id, length in needed.items()}
