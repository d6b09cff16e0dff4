"""Mending conversations: messages deleted, edited, left out of contexts, answered anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from oblix._convert.validation import describe, invalid
from oblix._facade.prompts import PromptCalls
from oblix.results import Message

MessageName = str | int
"""A message's id; its place in the session, from 1; or, below 0, counted from the end: -1 is the last."""
Content = str | Sequence[Any]


class MessageCalls(PromptCalls):
    """Read, change and delete the messages of a session.

    Every method names a message by its id, by its sequence number in the session (from
    1; it stays when other messages are deleted), or from the end: -1 is the last one.
    """

    def get_message(self, session_id: str, message: MessageName) -> dict[str, Any]:
        """Return one message, as in `load_session`. Raises NotFoundError."""
        return self._sync.sessions.message(session_id, message).to_dict()

    def delete_messages(
        self, session_id: str, messages: MessageName | Sequence[MessageName], *, exact: bool = False
    ) -> list[dict[str, Any]]:
        """Delete 1 to 1,000 messages permanently, and return them.

        This deletes a tool call together with its results, whichever is named; with
        `exact`, only the named messages. Raises NotFoundError for an unknown message
        (then nothing is deleted), and FailedPreconditionError TURN_RUNNING during a
        running answer.
        """
        return _dicts(self._sync.sessions.delete_messages(session_id, messages, exact=exact))

    def truncate_session(self, session_id: str, from_message: MessageName, *, exact: bool = False) -> int:
        """Delete a message and all after it permanently, and return their number.

        `truncate_session(session_id, 1)` empties the session. Otherwise as
        `delete_messages`.
        """
        return self._sync.sessions.truncate(session_id, from_message, exact=exact)

    def pop_messages(self, session_id: str, count: int = 1, *, exact: bool = False) -> list[dict[str, Any]]:
        """Delete the last messages permanently, at most 1,000, and return them in order.

        Returns fewer if the session has fewer. This is one atomic step: a message that
        another program appends meanwhile is either returned or stays. Otherwise as
        `delete_messages`.
        """
        return _dicts(self._sync.sessions.pop(session_id, count, exact=exact))

    def edit_message(
        self,
        session_id: str,
        message: MessageName,
        content: Content,
        *,
        client_data: bytes | None = None,
        version: int | None = None,
    ) -> dict[str, Any]:
        """Replace the content of a message, and return it; the old version is kept.

        `content`: a text, or a list of texts and images as in `execute`; for a tool's
        message, its result. Tool calls and reasoning of the message stay.
        `client_data`: the new data of the program; None keeps the old data. `version`:
        the version that the program read; AbortedError VERSION_MISMATCH if it is no
        longer the current one. The edit removes the mark that leaves a message out of
        contexts. Raises NotFoundError, and FailedPreconditionError TURN_RUNNING during
        a running answer.
        """
        edited = self._sync.sessions.edit(
            session_id, message, content, client_data=client_data, version=version
        )
        return edited.to_dict()

    def restore_message(self, session_id: str, message: MessageName, version: int) -> dict[str, Any]:
        """Make an older version of a message the current one, as a new version, and return it.

        Raises NotFoundError for an unknown version. Otherwise as `edit_message`.
        """
        return self._sync.sessions.restore_version(session_id, message, version).to_dict()

    def list_message_versions(self, session_id: str, message: MessageName) -> list[dict[str, Any]]:
        """Return the older versions of a message, newest first, without the current one.

        A message without an edit or a new answer has none. Raises NotFoundError.
        """
        return _dicts(self._sync.sessions.versions(session_id, message))

    def exclude_messages(
        self,
        session_id: str,
        messages: MessageName | Sequence[MessageName],
        reason: str = "",
        detail: str = "",
    ) -> int:
        """Mark messages as left out of contexts, and return how many were marked.

        The session keeps them. A tool call and its results are marked together.
        `reason`: UPPER_SNAKE, at most 128 characters; `detail`: for a person, at most
        4,096. Raises NotFoundError.
        """
        return self._sync.sessions.exclude(session_id, messages, reason=reason, detail=detail)

    def include_messages(self, session_id: str, messages: MessageName | Sequence[MessageName]) -> int:
        """Remove that mark, also one that the daemon set, and return from how many messages.

        Raises NotFoundError.
        """
        return self._sync.sessions.include(session_id, messages)

    async def regenerate(
        self,
        session_id: str | None = None,
        message: MessageName = -1,
        *,
        stream: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Answer the last question of a session again, and return the response as `execute` does.

        The session is `session_id`, or the current one. `message`: the last answer, or
        a message of its question. The new answer replaces the old one, which is kept as
        a version; if nothing of the new one arrives, the old one stays. `stream`: write
        it to standard output as it arrives. Takes the further options of `execute`, and
        raises what that raises; also NotFoundError, and FailedPreconditionError
        MESSAGE_NOT_LAST if other messages follow.
        """
        chosen = session_id or self.current_session_id
        if chosen is None:
            raise invalid("session_id", "a session, where there is no current one", describe(session_id))
        found = await self._async.sessions.message(chosen, message)
        return await self.execute(session_id=chosen, regenerate_message_id=found.id, stream=stream, **kwargs)


def _dicts(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [message.to_dict() for message in messages]
