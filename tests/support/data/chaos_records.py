"""What clients wrote down in a chaos, held against what the sessions keep and what the model's server saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from oblix.testing import OllamaServer
from oblix.v1 import messages_pb2, sessions_pb2, sessions_pb2_grpc
from support.drivers.chaos import Chaos, prompt_of

GONE_S = 60.0
"""How long a server may take to notice that nobody waits any more."""
_NOT_THERE = {
    "EXECUTION_NOT_FOUND",
    "CONNECTION_LOST",
    "DAEMON_UNREACHABLE",
    "DAEMON_STOPPING",
    "DAEMON_FAILED",
}


@dataclass
class Turn:
    """What a session holds of one request."""

    questions: int = 0
    answers: int = 0
    follows: bool = True
    """Whether the answer stands right behind its question."""
    answer: str = ""
    status: str = "nothing"


@dataclass
class Findings:
    """What should not be, by kind. Everything is empty where all is well."""

    asked_twice: list[str] = field(default_factory=list)
    never_asked: list[str] = field(default_factory=list)
    recorded_twice: list[str] = field(default_factory=list)
    interleaved: list[str] = field(default_factory=list)
    seen_otherwise: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    not_freed: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> dict[str, list[str]]:
        """What was found."""
        return {kind: found for kind, found in vars(self).items() if found}


def findings(chaos: Chaos) -> Findings:
    """Hold the journals against the sessions and the server's log."""
    result, turns, journal = Findings(), turns_of(chaos), list(chaos.journal())
    asked = Counter(_question(request.body) for request in _chats(chaos.server))
    for request_id, turn in turns.items():
        if (turn.questions, turn.answers) not in ((1, 0), (1, 1)):
            result.recorded_twice.append(request_id)
        if not turn.follows:
            result.interleaved.append(request_id)
        if turn.status == "complete" and not asked[prompt_of(request_id)]:
            result.never_asked.append(request_id)
    result.asked_twice = [prompt for prompt, count in asked.items() if count > 1]
    result.seen_otherwise = [
        f"{entry} but {turns.get(entry['id'])}"
        for entry in journal
        if entry["is"] == "saw" and not _agrees(entry, turns.get(entry["id"]), forgets=chaos.kills_daemon)
    ]
    result.lost = _lost_requests(chaos, journal, turns)
    result.not_freed = [_question(one.body) for one in _chats(chaos.server) if not one.done.wait(GONE_S)]
    return result


def turns_of(chaos: Chaos) -> dict[str, Turn]:
    """Every turn in the storm's sessions, by its request's id."""
    turns: dict[str, Turn] = {}
    with grpc.insecure_channel(f"unix:{chaos.home}/oblixd.sock") as channel:
        stub = sessions_pb2_grpc.SessionServiceStub(channel)
        for session in chaos.sessions:
            before = ""
            for message in _messages(stub, session):
                turn = turns.setdefault(message.request_id, Turn())
                if message.role == messages_pb2.ROLE_USER:
                    turn.questions += 1
                else:
                    turn.answers += 1
                    turn.follows = turn.follows and before == message.request_id
                    turn.answer = "".join(part.text for part in message.parts)
                    turn.status = _name(message.status)
                before = message.request_id
    return turns


def _messages(stub: sessions_pb2_grpc.SessionServiceStub, session: str) -> Iterator[messages_pb2.Message]:
    request = sessions_pb2.ListMessagesRequest(session_id=session, page_size=1000)
    while True:
        page = stub.ListMessages(request)
        yield from page.messages
        request.page_token = page.next_page_token
        if not request.page_token:
            return


def _agrees(entry: dict[str, Any], turn: Turn | None, *, forgets: bool) -> bool:
    """Whether what a client saw of a request is what its session holds.

    A daemon that died `forgets` what was cancelled before its turn: sent again, it is run.
    """
    if turn is None:
        # One that was cancelled, or lost its daemon, while it waited for its turn has left nothing.
        return not entry["text"] and entry["end"] != "stop"
    if not turn.answer.startswith(entry["text"]):
        # What was seen and not yet checkpointed goes with a daemon that is killed.
        return turn.status == "interrupted" and entry["text"].startswith(turn.answer)
    match entry["end"]:
        case "stop":
            return (turn.status, turn.answer) == ("complete", entry["text"])
        case "cancelled":
            never_began = forgets and not entry["text"]
            return never_began or (turn.status in ("cancelled", "nothing") and turn.answer == entry["text"])
        case "EXECUTION_INTERRUPTED":
            return turn.status == "interrupted"
        case "ANSWER_INTERRUPTED":
            return turn.status in ("cancelled", "interrupted", "nothing")
        case reason:
            return reason == "left" or reason in _NOT_THERE


def _lost_requests(chaos: Chaos, journal: list[dict[str, Any]], turns: dict[str, Turn]) -> list[str]:
    """Requests that were to go on without a reader, that nobody cancelled, and that did not end well."""
    cancelled = {entry["id"] for entry in journal if entry["is"] == "begun" and entry["what"] == "cancel"}
    well = {"complete", "interrupted"} if chaos.kills_daemon else {"complete"}
    return [
        f"{entry['id']} is {turns[entry['id']].status}"
        for entry in journal
        if entry["is"] == "sent"
        and entry["on_disconnect"] == "continue"
        and entry["id"] in turns
        and entry["id"] not in cancelled
        and turns[entry["id"]].status not in well
    ]


def _chats(server: OllamaServer) -> Iterator[Any]:
    return (request for request in server.requests if request.path == "/api/chat")


def _question(body: Any) -> str:
    return str(body["messages"][-1]["content"]) if body and body.get("messages") else ""


def _name(status: messages_pb2.MessageStatus.ValueType) -> str:
    return messages_pb2.MessageStatus.Name(status).removeprefix("MESSAGE_STATUS_").lower()
