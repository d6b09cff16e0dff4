"""SessionService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from oblix.v1 import sessions_pb2, sessions_pb2_grpc

from oblixd.rpc.admission import Malformed, malformed_error
from oblixd.rpc.edge import Context
from oblixd.sessions import Sessions, check_filter
from oblixd.sessions.search import Search


class SessionServicer(sessions_pb2_grpc.SessionServiceServicer):
    """Translates; the sessions package does the work."""

    def __init__(self, sessions: Sessions, search: Search, check_policy: Callable[[str], None]) -> None:
        """`check_policy` raises for a routing policy that no session can have."""
        self._sessions = sessions
        self._search = search
        self._check_policy = check_policy

    async def CreateSession(
        self, request: sessions_pb2.CreateSessionRequest, context: Context
    ) -> sessions_pb2.CreateSessionResponse:
        self._check_policy(request.session.routing_policy)
        if request.get_existing:
            session, created = await self._sessions.get_or_create(request.session)
        else:
            session, created = await self._sessions.create(request.session), True
        return sessions_pb2.CreateSessionResponse(session=session, created=created)

    async def GetSession(
        self, request: sessions_pb2.GetSessionRequest, context: Context
    ) -> sessions_pb2.GetSessionResponse:
        return sessions_pb2.GetSessionResponse(session=self._sessions.get(request.session_id))

    async def ListSessions(
        self, request: sessions_pb2.ListSessionsRequest, context: Context
    ) -> sessions_pb2.ListSessionsResponse:
        check_filter(request.filter if request.HasField("filter") else None)
        damaged: list[sessions_pb2.DamagedSession] = []
        sessions, token = self._sessions.list(
            page_size=request.page_size,
            page_token=request.page_token,
            filter=request.filter,
            updated_from=request.updated_from if request.HasField("updated_from") else None,
            updated_before=request.updated_before if request.HasField("updated_before") else None,
            archived=request.archived,
            deleted=request.deleted,
            damaged=damaged,
        )
        return sessions_pb2.ListSessionsResponse(
            sessions=sessions, next_page_token=token, damaged_sessions=damaged
        )

    async def UpdateSession(
        self, request: sessions_pb2.UpdateSessionRequest, context: Context
    ) -> sessions_pb2.UpdateSessionResponse:
        self._check_policy(request.session.routing_policy)
        session = await self._sessions.update(request.session, request.update_mask.paths)
        return sessions_pb2.UpdateSessionResponse(session=session)

    async def DeleteSession(
        self, request: sessions_pb2.DeleteSessionRequest, context: Context
    ) -> sessions_pb2.DeleteSessionResponse:
        await self._sessions.delete(request.session_id, purge=request.purge)
        return sessions_pb2.DeleteSessionResponse()

    async def UndeleteSession(
        self, request: sessions_pb2.UndeleteSessionRequest, context: Context
    ) -> sessions_pb2.UndeleteSessionResponse:
        return sessions_pb2.UndeleteSessionResponse(session=await self._sessions.undelete(request.session_id))

    async def DeleteMessages(
        self, request: sessions_pb2.DeleteMessagesRequest, context: Context
    ) -> sessions_pb2.DeleteMessagesResponse:
        return await self._sessions.delete_messages(request)

    async def EditMessage(
        self, request: sessions_pb2.EditMessageRequest, context: Context
    ) -> sessions_pb2.EditMessageResponse:
        return sessions_pb2.EditMessageResponse(message=await self._sessions.edit_message(request))

    async def ListMessageVersions(
        self, request: sessions_pb2.ListMessageVersionsRequest, context: Context
    ) -> sessions_pb2.ListMessageVersionsResponse:
        return self._sessions.message_versions(request)

    async def ExcludeMessages(
        self, request: sessions_pb2.ExcludeMessagesRequest, context: Context
    ) -> sessions_pb2.ExcludeMessagesResponse:
        sequences = await self._sessions.exclude(
            request.session_id, request.sequences, request.reason, request.detail
        )
        return sessions_pb2.ExcludeMessagesResponse(sequences=sequences)

    async def IncludeMessages(
        self, request: sessions_pb2.IncludeMessagesRequest, context: Context
    ) -> sessions_pb2.IncludeMessagesResponse:
        sequences = await self._sessions.include(request.session_id, request.sequences)
        return sessions_pb2.IncludeMessagesResponse(sequences=sequences)

    async def AppendMessages(
        self, request: sessions_pb2.AppendMessagesRequest, context: Context
    ) -> sessions_pb2.AppendMessagesResponse:
        return sessions_pb2.AppendMessagesResponse(
            messages=await self._sessions.append(request.session_id, request.messages)
        )

    async def ListMessages(
        self, request: sessions_pb2.ListMessagesRequest, context: Context
    ) -> sessions_pb2.ListMessagesResponse:
        messages, token = self._sessions.messages(
            request.session_id,
            page_size=request.page_size,
            page_token=request.page_token,
            newest_first=request.newest_first,
            from_sequence=request.from_sequence,
        )
        return sessions_pb2.ListMessagesResponse(messages=messages, next_page_token=token)

    async def CopySession(
        self, request: sessions_pb2.CopySessionRequest, context: Context
    ) -> sessions_pb2.CopySessionResponse:
        title = request.title if request.HasField("title") else None
        session = await self._sessions.copy(request.session_id, title, request.up_to_sequence)
        return sessions_pb2.CopySessionResponse(session=session)

    async def MergeSessions(
        self, request: sessions_pb2.MergeSessionsRequest, context: Context
    ) -> sessions_pb2.MergeSessionsResponse:
        title = request.title if request.HasField("title") else None
        return sessions_pb2.MergeSessionsResponse(
            session=await self._sessions.merge(request.session_ids, title)
        )

    async def ImportSessions(
        self, request: AsyncIterator[sessions_pb2.ImportSessionsRequest], context: Context
    ) -> AsyncIterator[sessions_pb2.ImportSessionsResponse]:
        async with aclosing(self._sessions.import_(_readable(request))) as answers:
            async for answer in answers:
                yield answer

    async def ExportSessions(
        self, request: sessions_pb2.ExportSessionsRequest, context: Context
    ) -> AsyncIterator[sessions_pb2.ExportSessionsResponse]:
        async for item in self._sessions.export(request.session_ids):
            yield item

    async def BackupStore(
        self, request: sessions_pb2.BackupStoreRequest, context: Context
    ) -> AsyncIterator[sessions_pb2.BackupStoreResponse]:
        async with aclosing(self._sessions.backup()) as pieces:
            async for piece in pieces:
                yield piece

    async def SearchMessages(
        self, request: sessions_pb2.SearchMessagesRequest, context: Context
    ) -> sessions_pb2.SearchMessagesResponse:
        check_filter(request.filter if request.HasField("filter") else None)
        return await self._search.find(request)

    async def WatchSessions(
        self, request: sessions_pb2.WatchSessionsRequest, context: Context
    ) -> AsyncIterator[sessions_pb2.WatchSessionsResponse]:
        check_filter(request.filter if request.HasField("filter") else None)
        revision = request.from_revision if request.HasField("from_revision") else None
        async with aclosing(self._sessions.watch(request.filter, revision)) as events:
            async for event in events:
                yield event

    async def PruneSessions(
        self, request: sessions_pb2.PruneSessionsRequest, context: Context
    ) -> sessions_pb2.PruneSessionsResponse:
        return await self._sessions.prune(request)


async def _readable(
    items: AsyncIterator[sessions_pb2.ImportSessionsRequest],
) -> AsyncIterator[sessions_pb2.ImportSessionsRequest]:
    async for item in items:
        if isinstance(item, Malformed):
            raise malformed_error()
        yield item
