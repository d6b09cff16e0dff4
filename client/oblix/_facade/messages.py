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
    """What a person does to a conversation that went wrong.

    Everywhere a message is named by its id, by its place in the session (from 1;
    places stay when others are deleted), or from the end: -1 is the last one.
    """

    def get_message(self, session_id: str, message: MessageName) -> dict[str, Any]:
        """Return one message, as in `load_session`. Raises NotFoundError."""
        return self._sync.sessions.message(session_id, message).to_dict()

    def delete_messages(
        self, session_id: str, messages: MessageName | Sequence[MessageName], *, exact: bool = False
    ) -> list[dict[str, Any]]:
        """Delete 1 to 1,000 messages for good, and return them.

        A message that calls tools and the messages with the results go together,
        whichever is named; with `exact` only what is named goes. Raises
        NotFoundError for a message that is not there (then nothing is deleted), and
        FailedPreconditionError TURN_RUNNING while an answer is being written.
        """
        return _dicts(self._sync.sessions.delete_messages(session_id, messages, exact=exact))

    def truncate_session(self, session_id: str, from_message: MessageName, *, exact: bool = False) -> int:
        """Delete a message and all after it for good, and return how many that were.

        `truncate_session(session_id, 1)` empties the session. Otherwise as
        `delete_messages`.
        """
        return self._sync.sessions.truncate(session_id, from_message, exact=exact)

    def pop_messages(self, session_id: str, count: int = 1, *, exact: bool = False) -> list[dict[str, Any]]:
        """Delete the last messages for good, at most 1,000, and return them in order.

        Fewer where the session has fewer. One atomic step: what others append
        meanwhile is either popped or stays, never lost. Otherwise as `delete_messages`.
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
        """Replace what a message says, and return it; the old version is kept.

        `content`: a text, or a list of texts and images as in `execute`; of a tool's
        message, what the tool answered. Tool calls and reasoning of the message stay.
        `client_data`: the program's
        own data from now on; None: it stays. `version`: the one that the edit was
        made on; AbortedError VERSION_MISMATCH where it is no longer the current one.
        The mark that keeps a message out of contexts goes. Raises NotFoundError, and
        FailedPreconditionError TURN_RUNNING while an answer is being written.
        """
        edited = self._sync.sessions.edit(
            session_id, message, content, client_data=client_data, version=version
        )
        return edited.to_dict()

    def restore_message(self, session_id: str, message: MessageName, version: int) -> dict[str, Any]:
        """Make an older version of a message the current one, as a new version, and return it.

        Raises NotFoundError where there is no such version. Otherwise as `edit_message`.
        """
        return self._sync.sessions.restore_version(session_id, message, version).to_dict()

    def list_message_versions(self, session_id: str, message: MessageName) -> list[dict[str, Any]]:
        """Return the versions of a message that were replaced, newest first, without the current one.

        A message that was never edited or answered anew has none. Raises NotFoundError.
        """
        return _dicts(self._sync.sessions.versions(session_id, message))

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
        return self._sync.sessions.exclude(session_id, messages, reason=reason, detail=detail)

    def include_messages(self, session_id: str, messages: MessageName | Sequence[MessageName]) -> int:
        """Take that mark away, also one that the daemon set, and return from how many it was.

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
        found = await self._async.sessions.message(chosen, message)
        return await self.execute(session_id=chosen, regenerate_message_id=found.id, stream=stream, **kwargs)


def _dicts(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [message.to_dict() for message in messages]
