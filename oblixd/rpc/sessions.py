"""SessionService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from oblix.v1 import sessions_pb2 as pb
from oblix.v1 import sessions_pb2_grpc

from oblixd.rpc.edge import Context, Malformed, malformed
from oblixd.sessions import Sessions
from oblixd.sessions.search import Search


class SessionServicer(sessions_pb2_grpc.SessionServiceServicer):
    """Translates; the sessions room does the work."""

    def __init__(self, sessions: Sessions, search: Search, check_policy: Callable[[str], None]) -> None:
        """`check_policy` raises for a routing policy that no session can have."""
        self._sessions = sessions
        self._search = search
        self._check_policy = check_policy

    async def CreateSession(
        self, request: pb.CreateSessionRequest, context: Context
    ) -> pb.CreateSessionResponse:
        self._check_policy(request.session.routing_policy)
        if request.get_existing:
            session, created = await self._sessions.get_or_create(request.session)
        else:
            session, created = await self._sessions.create(request.session), True
        return pb.CreateSessionResponse(session=session, created=created)

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.GetSessionResponse:
        return pb.GetSessionResponse(session=self._sessions.get(request.session_id))

    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: Context
    ) -> pb.ListSessionsResponse:
        sessions, token = self._sessions.list(
            page_size=request.page_size,
            page_token=request.page_token,
            filter=request.filter,
            updated_from=request.updated_from if request.HasField("updated_from") else None,
            updated_before=request.updated_before if request.HasField("updated_before") else None,
            archived=request.archived,
            deleted=request.deleted,
        )
        return pb.ListSessionsResponse(sessions=sessions, next_page_token=token)

    async def UpdateSession(
        self, request: pb.UpdateSessionRequest, context: Context
    ) -> pb.UpdateSessionResponse:
        self._check_policy(request.session.routing_policy)
        session = await self._sessions.update(request.session, request.update_mask.paths)
        return pb.UpdateSessionResponse(session=session)

    async def DeleteSession(
        self, request: pb.DeleteSessionRequest, context: Context
    ) -> pb.DeleteSessionResponse:
        await self._sessions.delete(request.session_id, purge=request.purge)
        return pb.DeleteSessionResponse()

    async def UndeleteSession(
        self, request: pb.UndeleteSessionRequest, context: Context
    ) -> pb.UndeleteSessionResponse:
        return pb.UndeleteSessionResponse(session=await self._sessions.undelete(request.session_id))

    async def DeleteMessages(
        self, request: pb.DeleteMessagesRequest, context: Context
    ) -> pb.DeleteMessagesResponse:
        return await self._sessions.delete_messages(request)

    async def EditMessage(self, request: pb.EditMessageRequest, context: Context) -> pb.EditMessageResponse:
        return pb.EditMessageResponse(message=await self._sessions.edit_message(request))

    async def ListMessageVersions(
        self, request: pb.ListMessageVersionsRequest, context: Context
    ) -> pb.ListMessageVersionsResponse:
        return self._sessions.message_versions(request)

    async def ExcludeMessages(
        self, request: pb.ExcludeMessagesRequest, context: Context
    ) -> pb.ExcludeMessagesResponse:
        sequences = await self._sessions.exclude(
            request.session_id, request.sequences, request.reason, request.detail
        )
        return pb.ExcludeMessagesResponse(sequences=sequences)

    async def IncludeMessages(
        self, request: pb.IncludeMessagesRequest, context: Context
    ) -> pb.IncludeMessagesResponse:
        sequences = await self._sessions.include(request.session_id, request.sequences)
        return pb.IncludeMessagesResponse(sequences=sequences)

    async def AppendMessages(
        self, request: pb.AppendMessagesRequest, context: Context
    ) -> pb.AppendMessagesResponse:
        return pb.AppendMessagesResponse(
            messages=await self._sessions.append(request.session_id, request.messages)
        )

    async def ListMessages(
        self, request: pb.ListMessagesRequest, context: Context
    ) -> pb.ListMessagesResponse:
        messages, token = self._sessions.messages(
            request.session_id,
            page_size=request.page_size,
            page_token=request.page_token,
            newest_first=request.newest_first,
            from_sequence=request.from_sequence,
        )
        return pb.ListMessagesResponse(messages=messages, next_page_token=token)

    async def CopySession(self, request: pb.CopySessionRequest, context: Context) -> pb.CopySessionResponse:
        title = request.title if request.HasField("title") else None
        session = await self._sessions.copy(request.session_id, title, request.up_to_sequence)
        return pb.CopySessionResponse(session=session)

    async def MergeSessions(
        self, request: pb.MergeSessionsRequest, context: Context
    ) -> pb.MergeSessionsResponse:
        title = request.title if request.HasField("title") else None
        return pb.MergeSessionsResponse(session=await self._sessions.merge(request.session_ids, title))

    async def ImportSessions(
        self, request: AsyncIterator[pb.ImportSessionsRequest], context: Context
    ) -> AsyncIterator[pb.ImportSessionsResponse]:
        async with aclosing(self._sessions.import_(_readable(request))) as answers:
            async for answer in answers:
                yield answer

    async def ExportSessions(
        self, request: pb.ExportSessionsRequest, context: Context
    ) -> AsyncIterator[pb.ExportSessionsResponse]:
        async for item in self._sessions.export(request.session_ids):
            yield item

    async def BackupStore(
        self, request: pb.BackupStoreRequest, context: Context
    ) -> AsyncIterator[pb.BackupStoreResponse]:
        async with aclosing(self._sessions.backup()) as pieces:
            async for piece in pieces:
                yield piece

    async def SearchMessages(
        self, request: pb.SearchMessagesRequest, context: Context
    ) -> pb.SearchMessagesResponse:
        return await self._search.find(request)

    async def WatchSessions(
        self, request: pb.WatchSessionsRequest, context: Context
    ) -> AsyncIterator[pb.WatchSessionsResponse]:
        revision = request.from_revision if request.HasField("from_revision") else None
        async with aclosing(self._sessions.watch(request.filter, revision)) as events:
            async for event in events:
                yield event

    async def PruneSessions(
        self, request: pb.PruneSessionsRequest, context: Context
    ) -> pb.PruneSessionsResponse:
        return await self._sessions.prune(request)


async def _readable(
    items: AsyncIterator[pb.ImportSessionsRequest],
) -> AsyncIterator[pb.ImportSessionsRequest]:
    async for item in items:
        if isinstance(item, Malformed):
            raise malformed()
        yield item
