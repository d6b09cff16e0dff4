"""The conversations that a scope lets a program see.

The scope is stated by whoever starts the program, never by the program itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from oblix import NotFoundError, OblixClient
from oblix._convert.values import Json, from_struct, to_struct
from oblix.v1 import messages_pb2, sessions_pb2

MESSAGES_PAGE = 200
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be seen."""

    filter: Mapping[str, Json] | None = field(default_factory=dict)
    """Equalities of metadata that must all hold, as in `list_sessions`. Empty: every session. None: no
    session but those that are named."""
    session_ids: frozenset[str] = frozenset()
    """Sessions that may be seen by name, whatever their metadata, local-only ones too."""
    local_only: bool = False
    """Whether local-only sessions that fit the filter may be seen without a name."""

    def allows(self, session: sessions_pb2.Session) -> bool:
        """Return whether a session may be seen."""
        if session.id in self.session_ids:
            return True
        if self.filter is None or (session.local_only and not self.local_only):
            return False
        metadata = from_struct(session.metadata)
        return all(_is_equal(_value(metadata, key), wanted) for key, wanted in self.filter.items())


def _value(metadata: Mapping[str, Json], key: str) -> object:
    """Return the value of a key: literally first, then as a dotted path, as the daemon's filters do."""
    if key in metadata:
        return metadata[key]
    value: object = metadata
    for step in key.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return _ABSENT
        value = value[step]
    return value


def _is_equal(value: object, expected: object) -> bool:
    return isinstance(value, bool) is isinstance(expected, bool) and value == expected


class Conversations:
    """One client's sessions, as far as the scope goes. What is outside of it does not exist."""

    def __init__(self, client: OblixClient, scope: Scope) -> None:
        self.client = client
        self.scope = scope

    async def page(
        self, size: int, token: str = "", also: Mapping[str, Json] | None = None
    ) -> tuple[list[sessions_pb2.Session], str]:
        """Return up to `size` sessions, the most recently changed first, and the next page's token.

        `also`: further equalities of metadata. The sessions that are named follow the last page.
        """
        if self.scope.filter is None:
            return await self._named_sessions(Scope(also or {}, local_only=True)), ""
        request = sessions_pb2.ListSessionsRequest(page_size=size, page_token=token)
        if wanted := {**(also or {}), **self.scope.filter}:
            request.filter.CopyFrom(to_struct(wanted, "filter"))
        answer = await self.client._transport.acall(
            lambda link: link.sessions.ListSessions, request, repeatable=True
        )
        sessions = [session for session in answer.sessions if self.scope.allows(session)]
        if not answer.next_page_token:
            sessions += await self._named_sessions(Scope(also or {}, local_only=True))
        return sessions, answer.next_page_token

    async def _named_sessions(self, also: Scope) -> list[sessions_pb2.Session]:
        """Return the sessions that only their name lets in. The pages have the other ones."""
        unnamed = Scope(self.scope.filter, local_only=self.scope.local_only)
        found = [await self._find(session_id) for session_id in sorted(self.scope.session_ids)]
        return [one for one in found if one and not unnamed.allows(one) and also.allows(one)]

    async def header(self, session_id: str) -> sessions_pb2.Session:
        """Return a session without its messages. Raises NotFoundError, also for one outside of the scope."""
        session = await self._find(session_id)
        if session is None or not self.scope.allows(session):
            raise NotFoundError(f"There is no session {session_id} here.", reason="SESSION_NOT_FOUND")
        return session

    async def _find(self, session_id: str) -> sessions_pb2.Session | None:
        request = sessions_pb2.GetSessionRequest(session_id=session_id)
        try:
            answer = await self.client._transport.acall(
                lambda link: link.sessions.GetSession, request, repeatable=True
            )
        except NotFoundError:
            return None
        return answer.session

    async def messages(self, session_id: str, start: int = 1) -> AsyncIterator[messages_pb2.Message]:
        """Yield a session's messages from a sequence on. Raises NotFoundError as `header` does."""
        request = sessions_pb2.ListMessagesRequest(
            session_id=session_id, page_size=MESSAGES_PAGE, from_sequence=start
        )
        while True:
            answer = await self.client._transport.acall(
                lambda link: link.sessions.ListMessages, request, repeatable=True
            )
            # Asked after the page was read: a session may become local-only in between.
            await self.header(session_id)
            for message in answer.messages:
                yield message
            request.page_token = answer.next_page_token
            if not answer.next_page_token:
                return

    async def search(self, query: str, limit: int) -> list[dict[str, Any]]:
        """Find messages by their words, best first, as `OblixClient.search_messages` shows them."""
        search = self.client.search_messages
        hits: list[dict[str, Any]] = []
        if self.scope.filter is not None:
            hits += await asyncio.to_thread(search, query, limit, self.scope.filter or None)
        for session_id in sorted(self.scope.session_ids):
            if await self._find(session_id) is not None:
                hits += await asyncio.to_thread(search, query, limit, None, session_id)
        best = sorted(hits, key=lambda hit: hit["score"], reverse=True)
        unique = {(hit["session_id"], hit["sequence"]): hit for hit in best}
        seen = {session_id: await self._find(session_id) for session_id, _ in unique}
        visible = {name for name, session in seen.items() if session and self.scope.allows(session)}
        return [hit for hit in unique.values() if hit["session_id"] in visible][:limit]
