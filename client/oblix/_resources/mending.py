"""Mending conversations: messages deleted, edited, left out of contexts, answered anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oblix._convert.messages import content_of
from oblix._convert.records import message_of
from oblix._convert.validation import data, describe, invalid, text
from oblix._resources.prompts import PromptCalls
from oblix._resources.sessions import MessageName
from oblix._transport.streams import in_thread
from oblix.v1 import messages_pb2, sessions_pb2

MAX_VERSION = 2**31
Content = str | Sequence[dict[str, Any]]


class MendingCalls(PromptCalls):
    """What a person does to a conversation that went wrong.

    Everywhere a message is named by its id, by its place in the session (from 1;
    places stay when others are deleted), or from the end: -1 is the last one.
    """

    def get_message(self, session_id: str, message: MessageName) -> dict[str, Any]:
        """One message, as in `load_session`. Raises NotFoundError."""
        return message_of(self._found(session_id, message))

    def delete_messages(
        self, session_id: str, messages: MessageName | Sequence[MessageName], *, exact: bool = False
    ) -> list[dict[str, Any]]:
        """Delete 1 to 1,000 messages for good, and return them.

        A message that calls tools and the messages with the results go together,
        whichever is named; with `exact` only what is named goes. Raises
        NotFoundError for a message that is not there (then nothing is deleted), and
        FailedPreconditionError TURN_RUNNING while an answer is being written.
        """
        return self._delete(session_id, exact, sequences=self._sequences(session_id, messages))[0]

    def truncate_session(self, session_id: str, from_message: MessageName, *, exact: bool = False) -> int:
        """Delete a message and all after it for good, and return how many that were.

        `truncate_session(session_id, 1)` empties the session. Otherwise as
        `delete_messages`.
        """
        # A place needs no message: what stands behind an empty one goes, too.
        is_place = isinstance(from_message, int) and from_message > 0
        at = from_message if is_place else self._found(session_id, from_message).sequence
        return self._delete(session_id, exact, from_sequence=int(at))[1]

    def pop_messages(self, session_id: str, count: int = 1, *, exact: bool = False) -> list[dict[str, Any]]:
        """Delete the last messages for good, at most 1,000, and return them in order.

        Fewer where the session has fewer. One atomic step: what others append
        meanwhile is either popped or stays, never lost. Otherwise as `delete_messages`.
        """
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise invalid("count", "a whole number of 1 or more", describe(count))
        return self._delete(session_id, exact, last=count)[0]

    def edit_message(
        self,
        session_id: str,
        message: MessageName,
        content: Content,
        *,
        client_data: bytes | None = None,
        version: int | None = None,
    ) -> dict[str, Any]:
        """Replace what a message says, and return it; the old version is kept.

        `content`: a text, or a list of texts and images as in `execute`; of a tool's
        message, what the tool answered. Tool calls and reasoning of the message stay.
        `client_data`: the program's
        own data from now on; None: it stays. `version`: the one that the edit was
        made on; AbortedError VERSION_MISMATCH where it is no longer the current one.
        The mark that keeps a message out of contexts goes. Raises NotFoundError, and
        FailedPreconditionError TURN_RUNNING while an answer is being written.
        """
        old = self._found(session_id, message)
        request = sessions_pb2.EditMessageRequest(
            session_id=session_id,
            sequence=old.sequence,
            parts=_edited_parts(old, content),
            client_data=data(client_data, "client_data"),
            version=None if version is None else _version(version),
        )
        return self._edit(request)

    def restore_message(self, session_id: str, message: MessageName, version: int) -> dict[str, Any]:
        """Make an older version of a message the current one, as a new version, and return it.

        Raises NotFoundError where there is no such version. Otherwise as `edit_message`.
        """
        found = self._found(session_id, message)
        request = sessions_pb2.EditMessageRequest(
            session_id=session_id, sequence=found.sequence, restore_version=_version(version)
        )
        return self._edit(request)

    def list_message_versions(self, session_id: str, message: MessageName) -> list[dict[str, Any]]:
        """Return the versions of a message that were replaced, newest first, without the current one.

        A message that was never edited or answered anew has none. Raises NotFoundError.
        """
        found = self._found(session_id, message)
        request = sessions_pb2.ListMessageVersionsRequest(session_id=session_id, sequence=found.sequence)
        versions: list[dict[str, Any]] = []
        while True:
            page = self._transport.call(
                lambda link: link.sessions.ListMessageVersions, request, repeatable=True
            )
            versions += map(message_of, page.messages)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return versions

    def exclude_messages(
        self,
        session_id: str,
        messages: MessageName | Sequence[MessageName],
        reason: str = "",
        detail: str = "",
    ) -> int:
        """Leave messages out of the contexts that models are sent, and return how many are marked now.

        The session keeps them. A tool call and its results are marked together.
        `reason`: UPPER_SNAKE, at most 128 characters; `detail`: for a person, at
        most 4,096. Raises NotFoundError.
        """
        request = sessions_pb2.ExcludeMessagesRequest(
            session_id=text(session_id, "session_id"),
            sequences=self._sequences(session_id, messages),
            reason=text(reason, "reason"),
            detail=text(detail, "detail"),
        )
        return len(self._transport.call(lambda link: link.sessions.ExcludeMessages, request).sequences)

    def include_messages(self, session_id: str, messages: MessageName | Sequence[MessageName]) -> int:
        """Take that mark away, also one that the daemon set, and return from how many it was.

        Raises NotFoundError.
        """
        request = sessions_pb2.IncludeMessagesRequest(
            session_id=text(session_id, "session_id"), sequences=self._sequences(session_id, messages)
        )
        return len(self._transport.call(lambda link: link.sessions.IncludeMessages, request).sequences)

    async def regenerate(
        self,
        session_id: str | None = None,
        message: MessageName = -1,
        *,
        stream: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Answer a question of a session anew, and return the response as `execute` does.

        The session is `session_id`, else the current one. `message`: the answer, or a
        message of its question; it must be the last of both. The new answer takes
        the old one's place, which is kept as a version; where nothing of it comes, the
        old one stays. `stream`: write it to standard output as it arrives. Takes the
        further options of `execute`, and raises what that raises; also NotFoundError,
        and FailedPreconditionError MESSAGE_NOT_LAST where other messages follow.
        """
        chosen = session_id or self.current_session_id
        if chosen is None:
            raise invalid("session_id", "a session, where there is no current one", describe(session_id))
        found = await in_thread(lambda: self._found(chosen, message))
        return await self.execute(session_id=chosen, regenerate_message_id=found.id, stream=stream, **kwargs)

    def _delete(
        self,
        session_id: str,
        exact: bool,
        *,
        sequences: Sequence[int] = (),
        from_sequence: int = 0,
        last: int = 0,
    ) -> tuple[list[dict[str, Any]], int]:
        request = sessions_pb2.DeleteMessagesRequest(
            session_id=text(session_id, "session_id"),
            sequences=sequences,
            from_sequence=from_sequence,
            last=last,
            exact=exact,
        )
        answer = self._transport.call(lambda link: link.sessions.DeleteMessages, request)
        return [message_of(message) for message in answer.messages], answer.deleted_count

    def _edit(self, request: sessions_pb2.EditMessageRequest) -> dict[str, Any]:
        answer = self._transport.call(lambda link: link.sessions.EditMessage, request)
        return message_of(answer.message)

    def _sequences(self, session_id: str, messages: MessageName | Sequence[MessageName]) -> list[int]:
        names = [messages] if isinstance(messages, str | int) else list(messages)
        return [self._found(session_id, name).sequence for name in names]


def _edited_parts(old: messages_pb2.Message, content: Content) -> list[messages_pb2.Part]:
    """Return the parts of an edited message: reasoning, what it says now, its tool calls."""
    results = [part.tool_result for part in old.parts if part.HasField("tool_result")]
    if results:
        return [_edited_result(results, content)]
    said = content_of(content, old.role, "content")
    reasoning = [part for part in old.parts if part.HasField("reasoning")]
    return [*reasoning, *said, *(part for part in old.parts if part.HasField("tool_call"))]


def _edited_result(results: list[messages_pb2.ToolResultPart], content: Content) -> messages_pb2.Part:
    if len(results) > 1 or not isinstance(content, str):
        raise invalid("content", "a text, for a message with one tool result", describe(content))
    result = messages_pb2.ToolResultPart(call_id=results[0].call_id, content=text(content, "content"))
    return messages_pb2.Part(tool_result=result)


def _version(version: object) -> int:
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version < MAX_VERSION:
        raise invalid("version", "a whole number of 0 or more", describe(version))
    return version
