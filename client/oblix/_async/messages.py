"""The messages of a session: read, appended, deleted, edited, left out of contexts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from oblix._async.items import AsyncItems
from oblix._convert.decoding import message_of
from oblix._convert.validation import session_id_of, text, whole_number
from oblix._resources import session_requests as requests
from oblix._resources.core import Core
from oblix.options import ContentPart, MessageInput, MessageRef, SessionRef
from oblix.results import Message
from oblix.v1 import messages_pb2, sessions_pb2

MessageList: TypeAlias = list[Message]


class AsyncMessages:
    """Read and change the messages of a session.

    Every method takes a message, its id, its sequence number in the session (from 1; it stays when
    other messages are deleted), or a number from the end: -1 is the last one.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._transport = core.transport

    def messages(
        self,
        session: SessionRef,
        *,
        newest_first: bool = False,
        from_sequence: int = 0,
        last: int | None = None,
    ) -> AsyncItems[Message]:
        """Return a session's messages, in order, with a running answer as far as its last checkpoint.

        `newest_first`: in reverse order. `from_sequence`: from this sequence number on, in the chosen
        order. `last`: only this number from the end, in order. Reading raises NotFoundError.
        """
        if last is not None:
            return AsyncItems(lambda token, most: self._last(session, whole_number(last, "last", 0)))
        request = requests.listing_of(session, newest_first, whole_number(from_sequence, "from_sequence", 0))
        return AsyncItems(lambda token, most: self._page(request, token, most))

    async def message(self, session: SessionRef, message: MessageRef) -> Message:
        """Return one message. Raises NotFoundError."""
        return message_of(await self._find(session, message))

    async def append(
        self,
        session: SessionRef,
        messages: str | Message | MessageInput | Sequence[str | Message | MessageInput],
    ) -> MessageList:
        """Append all of the messages or none, without asking a model, and return them as recorded.

        A text is a user's message. At most 1,000 messages, 8 MiB each. A dict can have `client_data`,
        the program's own data. During a running answer, the messages come after it. Raises NotFoundError,
        InvalidArgumentError.
        """
        request = requests.appending(session, messages)
        answer = await self._transport.acall(lambda link: link.sessions.AppendMessages, request)
        return [message_of(message) for message in answer.messages]

    async def delete_messages(
        self, session: SessionRef, messages: MessageRef | Sequence[MessageRef], *, exact: bool = False
    ) -> MessageList:
        """Delete 1 to 1,000 messages permanently, and return them.

        This deletes a tool call together with its results, whichever is named; with `exact`, only
        the named messages. Raises NotFoundError for an unknown message (then nothing is deleted),
        and FailedPreconditionError TURN_RUNNING during a running answer.
        """
        sequences = await self._sequences(session, messages)
        return (await self._delete(session, exact, sequences=sequences))[0]

    async def truncate(self, session: SessionRef, from_message: MessageRef, *, exact: bool = False) -> int:
        """Delete a message and all after it permanently, and return their number.

        `truncate(session, 1)` empties the session. Otherwise as `delete_messages`.
        """
        # A place needs no message: what stands behind an empty one goes, too.
        if isinstance(from_message, int) and from_message > 0:
            at = from_message
        else:
            at = (await self._find(session, from_message)).sequence
        return (await self._delete(session, exact, from_sequence=at))[1]

    async def pop(self, session: SessionRef, count: int = 1, *, exact: bool = False) -> MessageList:
        """Delete the last messages permanently, at most 1,000, and return them in order.

        Returns fewer if the session has fewer. This is one atomic step: a message that another
        program appends meanwhile is either returned or stays. Otherwise as `delete_messages`.
        """
        return (await self._delete(session, exact, last=whole_number(count, "count", 1)))[0]

    async def edit(
        self,
        session: SessionRef,
        message: MessageRef,
        content: str | Sequence[ContentPart],
        *,
        client_data: bytes | None = None,
        version: int | None = None,
    ) -> Message:
        """Replace the content of a message, and return it; the old version is kept.

        `content`: a text, or a list of texts and images; for a tool's message, its result. Tool
        calls and reasoning of the message stay. `client_data`: the new data of the program; None
        keeps the old data. `version`: the version that the program read; AbortedError
        VERSION_MISMATCH if it is no longer the current one. The edit removes the mark that leaves
        a message out of contexts. Raises NotFoundError, and FailedPreconditionError TURN_RUNNING
        during a running answer.
        """
        old = await self._find(session, message)
        return await self._edit(requests.edit(session, old, content, client_data, version))

    async def restore_version(self, session: SessionRef, message: MessageRef, version: int) -> Message:
        """Make an older version of a message the current one, as a new version, and return it.

        Raises NotFoundError for an unknown version. Otherwise as `edit`.
        """
        found = await self._find(session, message)
        request = sessions_pb2.EditMessageRequest(
            session_id=session_id_of(session),
            sequence=found.sequence,
            restore_version=whole_number(version, "version", 0, requests.MAX_VERSION),
        )
        return await self._edit(request)

    def versions(self, session: SessionRef, message: MessageRef) -> AsyncItems[Message]:
        """Return the older versions of a message, newest first, without the current one.

        A message without an edit or a new answer has none. Reading raises NotFoundError.
        """
        return AsyncItems(lambda token, most: self._versions(session, message, token, most))

    async def exclude(
        self,
        session: SessionRef,
        messages: MessageRef | Sequence[MessageRef],
        *,
        reason: str = "",
        detail: str = "",
    ) -> int:
        """Mark messages as left out of contexts, and return how many were marked.

        The session keeps them. A tool call and its results are marked together. `reason`:
        UPPER_SNAKE, at most 128 characters; `detail`: for a person, at most 4,096. Raises NotFoundError.
        """
        request = sessions_pb2.ExcludeMessagesRequest(
            session_id=session_id_of(session),
            sequences=await self._sequences(session, messages),
            reason=text(reason, "reason"),
            detail=text(detail, "detail"),
        )
        answer = await self._transport.acall(lambda link: link.sessions.ExcludeMessages, request)
        return len(answer.sequences)

    async def include(self, session: SessionRef, messages: MessageRef | Sequence[MessageRef]) -> int:
        """Remove that mark, also one that the daemon set, and return from how many messages.

        Raises NotFoundError.
        """
        request = sessions_pb2.IncludeMessagesRequest(
            session_id=session_id_of(session), sequences=await self._sequences(session, messages)
        )
        answer = await self._transport.acall(lambda link: link.sessions.IncludeMessages, request)
        return len(answer.sequences)

    async def _page(
        self, request: sessions_pb2.ListMessagesRequest, token: str, most: int
    ) -> tuple[MessageList, str]:
        raw, following = await self._raw_page(request, token, most)
        return [message_of(message) for message in raw], following

    async def _raw_page(
        self, request: sessions_pb2.ListMessagesRequest, token: str, most: int
    ) -> tuple[list[messages_pb2.Message], str]:
        asked = requests.page_of(request, token, most)
        page = await self._transport.acall(lambda link: link.sessions.ListMessages, asked, repeatable=True)
        return list(page.messages), page.next_page_token

    async def _last(self, session: SessionRef, count: int) -> tuple[MessageList, str]:
        request = requests.listing_of(session, newest_first=True)
        newest = AsyncItems(lambda token, most: self._page(request, token, most), count)
        return [message async for message in newest][::-1], ""

    async def _versions(
        self, session: SessionRef, message: MessageRef, token: str, most: int
    ) -> tuple[MessageList, str]:
        found = await self._find(session, message)
        request = sessions_pb2.ListMessageVersionsRequest(
            session_id=session_id_of(session), sequence=found.sequence, page_token=token, page_size=most
        )
        page = await self._transport.acall(
            lambda link: link.sessions.ListMessageVersions, request, repeatable=True
        )
        return [message_of(each) for each in page.messages], page.next_page_token

    async def _find(self, session: SessionRef, name: MessageRef) -> messages_pb2.Message:
        """Return the message of a name. By its id it is looked for from the end. Raises NotFoundError."""
        if isinstance(name, bool) or not isinstance(name, int):
            message_id = requests.message_id_of(name)
            async for message in self._raw(requests.listing_of(session, newest_first=True), None):
                if message.id == message_id:
                    return message
        elif name < 0:
            newest = [each async for each in self._raw(requests.listing_of(session, True), -name)]
            if len(newest) == -name:
                return newest[-1]
        else:
            async for message in self._raw(requests.listing_of(session, from_sequence=name), 1):
                if message.sequence == name:
                    return message
        raise requests.no_message_error(session, name)

    def raw(
        self, session: SessionRef, *, newest_first: bool = False, limit: int | None = None
    ) -> AsyncItems[messages_pb2.Message]:
        """Return a session's messages as the contract has them."""
        return self._raw(requests.listing_of(session, newest_first), limit)

    def _raw(
        self, request: sessions_pb2.ListMessagesRequest, limit: int | None
    ) -> AsyncItems[messages_pb2.Message]:
        return AsyncItems(lambda token, most: self._raw_page(request, token, most), limit)

    async def _sequences(self, session: SessionRef, messages: MessageRef | Sequence[MessageRef]) -> list[int]:
        return [(await self._find(session, name)).sequence for name in requests.names_of(messages)]

    async def _delete(
        self,
        session: SessionRef,
        exact: bool,
        *,
        sequences: Sequence[int] = (),
        from_sequence: int = 0,
        last: int = 0,
    ) -> tuple[MessageList, int]:
        request = sessions_pb2.DeleteMessagesRequest(
            session_id=session_id_of(session),
            sequences=sequences,
            from_sequence=from_sequence,
            last=last,
            exact=exact,
        )
        answer = await self._transport.acall(lambda link: link.sessions.DeleteMessages, request)
        return [message_of(message) for message in answer.messages], answer.deleted_count

    async def _edit(self, request: sessions_pb2.EditMessageRequest) -> Message:
        answer = await self._transport.acall(lambda link: link.sessions.EditMessage, request)
        return message_of(answer.message)
