# Written by tools/sync_client.py from client/oblix/_async/executions.py: change that file.
"""The executions of the daemon, whoever started them: `client.executions`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import TypeAlias, Unpack

from oblix._convert.events import EventDecoder, execution_of
from oblix._convert.validation import invalid, session_id_of, text, whole_number
from oblix._resources import turns
from oblix._resources.core import Core
from oblix._resources.requests import prompt_of
from oblix._sync.messages import Messages
from oblix._sync.prompts import Prompts
from oblix._sync.resumable import ResumableStream
from oblix._transport.channel import CALL_TIMEOUT_S
from oblix.answers import MOST_TURNS, Decision, Execution, Turn
from oblix.errors import NotFoundError, OblixError
from oblix.events import Event
from oblix.limits import LARGEST_PAGE
from oblix.options import ExecuteOptions, Prompt, SessionRef
from oblix.v1 import executions_pb2, messages_pb2

MAX_OFFSET = 2**63 - 1
ExecutionList: TypeAlias = list[Execution]


class Executions:
    """The prompts that wait, run or ended lately, and why each went to its model."""

    def __init__(self, core: Core, prompts: Prompts) -> None:
        self._core = core
        self._transport = core.transport
        self._prompts = prompts

    def list(self, session: SessionRef | None = None) -> ExecutionList:
        """Return the prompts of all programs that wait, run, or ended within ten minutes, oldest first.

        `session`: only those of one session.
        """
        request = executions_pb2.ListExecutionsRequest(session_id=session_id_of(session) if session else "")
        answer = self._transport.call(lambda link: link.executions.ListExecutions, request, repeatable=True)
        return [execution_of(execution) for execution in answer.executions]

    def attach(self, request_id: str, *, offset: int = 0) -> Generator[Event, None, None]:
        """Yield the events of a running or ended execution, as `stream` does, from the start.

        `offset`: the number of bytes of UTF-8 that the program already has, which is
        `delta.offset + len(delta.text.encode())` of its last delta; they are not sent again. Any
        number of programs can attach to one execution. An execution of a session can be attached to
        for the session's life, another one for ten minutes after its end.

        If the generator is closed, the execution continues if it was started with
        `on_disconnect="continue"` or another program reads it; otherwise it is cancelled. Raises
        NotFoundError for an unknown execution, InvalidArgumentError for an offset past its end, and
        the error that ended it: UnavailableError EXECUTION_INTERRUPTED if the daemon ended in the
        middle, with `session_id` and `kept_bytes` in its metadata.
        """
        following = ResumableStream(
            self._transport, _id(request_id), offset=whole_number(offset, "offset", 0, MAX_OFFSET)
        )
        decoder = EventDecoder(self._core.agents, [])
        with closing(following.responses()) as responses:
            for response in responses:
                if (event := decoder.event(response)) is not None:
                    yield event

    def cancel(self, request_id: str) -> Execution:
        """Cancel an execution, and return it. The part of the answer that arrived is kept.

        An execution that has ended does not change. Raises NotFoundError if none with this id runs
        or ended within the last ten minutes.
        """
        request = executions_pb2.CancelExecutionRequest(request_id=_id(request_id))
        answer = self._transport.call(lambda link: link.executions.CancelExecution, request, repeatable=True)
        return execution_of(answer.execution)

    def explain(
        self, prompt: Prompt = "", *, session: SessionRef | None = None, **options: Unpack[ExecuteOptions]
    ) -> Decision:
        """Return where a prompt would go now, and why. Send nothing to a model, and record nothing.

        Takes what `execute` takes and raises what it raises before a model is asked.
        """
        return self._prompts.explain(prompt_of(prompt, session, options))

    def history(self, session: SessionRef, *, limit: int = MOST_TURNS) -> Sequence[Turn]:
        """Return a session's newest turns with their routing, oldest first. Raises NotFoundError.

        `limit`: 1 to 1,000 turns. The list leaves out a running turn, and messages that were
        imported or written without a model. A turn that failed without an answer has its decision
        for ten minutes only.
        """
        whole_number(limit, "limit", 1, LARGEST_PAGE)
        name = session_id_of(session)
        messages = Messages(self._core)
        found = turns.turns_in(list(messages.raw(name)))
        # Asked after the messages, and of all sessions: this one may be a copy of another, made meanwhile.
        for execution in self.list():
            if execution.ended_at is None:
                found.pop(execution.request_id, None)
        kept = list(found.values())[-limit:]
        return [turns.turn_of(turn, self._ending(turn.message)) for turn in kept]

    def _ending(self, message: messages_pb2.Message) -> turns.Ending:
        ending = turns.Ending(message.decision)
        if not message.request_id:
            return ending
        request = executions_pb2.AttachExecutionRequest(request_id=message.request_id)
        answers = self._transport.iterate(
            lambda link: link.executions.AttachExecution(
                request, metadata=link.metadata, timeout=CALL_TIMEOUT_S
            )
        )
        try:
            with closing(answers):
                for answer in answers:
                    ending.hear(answer.event)
        except NotFoundError:  # a copy of a turn whose session is gone
            return ending
        except OblixError as error:
            if "session_id" not in error.metadata:
                raise  # that of the call, not of the turn
            ending.error = error
        return ending


def _id(request_id: object) -> str:
    if not text(request_id, "request_id"):
        raise invalid("request_id", "the id of an execution", "an empty one")
    return str(request_id)
