"""Which files an import reads, which sessions an export writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from oblix._convert import file_io
from oblix._convert.validation import describe, invalid, session_id_of
from oblix._resources.session_requests import listing, page_of
from oblix.results import Session
from oblix.v1 import messages_pb2, sessions_pb2

__all__ = ["files_of", "ids_of", "listing_of", "page_of", "unheard", "write_document"]


def files_of(paths: object) -> list[Path]:
    """Return the files that an import is to read. Raises OblixError."""
    from oblix.formats import opening

    each = [paths] if isinstance(paths, str | PathLike) else paths
    if not isinstance(each, Sequence):
        raise invalid("paths", "a path or a list of paths", describe(paths))
    return [file for path in each for file in opening.files_in(file_io.path_of(path))]


def listing_of(filters: Mapping[str, Any] | None) -> sessions_pb2.ListSessionsRequest:
    """Return the request that lists what an export is to write."""
    return listing(filters, archived=None, field="sessions")


def ids_of(sessions: object) -> list[str]:
    """Return the ids of sessions that a program names, each once."""
    if isinstance(sessions, str | Session):
        return [session_id_of(sessions)]
    if not isinstance(sessions, Sequence):
        raise invalid("sessions", "ids, a filter or None", describe(sessions))
    return list(dict.fromkeys(map(session_id_of, sessions)))


def write_document(path: Path, session: sessions_pb2.Session, messages: list[messages_pb2.Message]) -> None:
    """Write a session as Oblix's own JSON."""
    from oblix.formats import oblix_json

    file_io.write(path, oblix_json.dump(session, messages))


def unheard(_: int) -> None:
    """Nobody wants to know how far it is."""
