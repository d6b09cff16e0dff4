"""A tool's conversation as a session: recorded once, whatever the tool sends again, shortens or edits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import openai
import pytest
from oblix.testing import Answer, Refuse
from oblix.v1 import messages_pb2, sessions_pb2, sessions_pb2_grpc
from support.endpoint import MODEL, Served

Messages = list[dict[str, Any]]


class Tool:
    """A program that holds its conversation itself, as agents do."""

    def __init__(self, shared_endpoint: Served, **headers: str) -> None:
        self.served = shared_endpoint
        self.client = shared_endpoint.openai().with_options(default_headers=headers)
        self.messages: Messages = [{"role": "system", "content": "You are a tool."}]

    def say(self, text: str, answer: Answer | str) -> str:
        """Say something, and keep the answer. Returns the session's id."""
        self.messages.append({"role": "user", "content": text})
        return self.send(answer)

    def send(self, answer: Answer | str) -> str:
        """Send the conversation as it stands."""
        self.served.server.script(answer)
        raw = self.client.chat.completions.with_raw_response.create(model=MODEL, messages=self.messages)
        message = raw.parse().choices[0].message
        self.messages.append({"role": "assistant", "content": message.content})
        return raw.headers.get("x-oblix-session", "")


def recorded_messages(shared_endpoint: Served, session_id: str) -> list[tuple[str, str]]:
    """List who said what in a session."""
    stub = sessions_pb2_grpc.SessionServiceStub(shared_endpoint.daemon.channel)
    listed = stub.ListMessages(sessions_pb2.ListMessagesRequest(session_id=session_id))
    return [
        (messages_pb2.Role.Name(one.role).removeprefix("ROLE_").lower(), one.parts[0].text)
        for one in listed.messages
    ]


def sessions(shared_endpoint: Served) -> int:
    """Count the sessions."""
    stub = sessions_pb2_grpc.SessionServiceStub(shared_endpoint.daemon.channel)
    return len(stub.ListSessions(sessions_pb2.ListSessionsRequest(page_size=1000)).sessions)


def test_a_new_session_goes_on_by_its_id_and_records_each_thing_once(shared_endpoint: Served) -> None:
    first = Tool(shared_endpoint, **{"x-oblix-session": "new"})
    session_id = first.say("One?", "1")
    first.client = first.client.with_options(default_headers={"x-oblix-session": session_id})
    assert first.say("Two?", "2") == session_id
    assert recorded_messages(shared_endpoint, session_id) == [
        ("user", "One?"),
        ("assistant", "1"),
        ("user", "Two?"),
        ("assistant", "2"),
    ]
    sent = shared_endpoint.server.requests[-1].body["messages"]
    assert [one["content"] for one in sent] == ["You are a tool.", "One?", "1", "Two?"]


def test_a_context_that_the_tool_shortened_is_sent_as_it_is(shared_endpoint: Served) -> None:
    tool = Tool(shared_endpoint, **{"x-oblix-session": "new"})
    session_id = tool.say("One?", "1")
    tool.client = tool.client.with_options(default_headers={"x-oblix-session": session_id})
    tool.messages = [{"role": "user", "content": "Summary: one."}, {"role": "assistant", "content": "Yes."}]
    tool.say("Two?", "2")
    sent = shared_endpoint.server.requests[-1].body["messages"]
    assert [one["content"] for one in sent] == ["Summary: one.", "Yes.", "Two?"]
    assert [text for _, text in recorded_messages(shared_endpoint, session_id)] == ["One?", "1", "Two?", "2"]


def test_a_question_that_is_sent_again_after_a_failure_is_one_turn(fresh: Served) -> None:
    tool = Tool(fresh, **{"x-oblix-session": "new"})
    session_id = tool.say("One?", "1")
    tool.client = tool.client.with_options(default_headers={"x-oblix-session": session_id})
    with pytest.raises(openai.BadRequestError):
        tool.say("Two?", Answer(fault=Refuse(400, "something is wrong")))
    assert tool.send("2") == session_id
    assert [text for _, text in recorded_messages(fresh, session_id)] == ["One?", "1", "Two?", "2"]


def test_a_question_that_is_asked_once_more_gets_another_version(shared_endpoint: Served) -> None:
    tool = Tool(shared_endpoint, **{"x-oblix-session": "new"})
    session_id = tool.say("One?", "1")
    tool.client = tool.client.with_options(default_headers={"x-oblix-session": session_id})
    tool.messages.pop()
    tool.send("One, again.")
    assert [text for _, text in recorded_messages(shared_endpoint, session_id)] == ["One?", "One, again."]
    tool.say("One?", "The same words are another turn.")
    assert len(recorded_messages(shared_endpoint, session_id)) == 4


def test_a_token_sees_its_own_sessions_only(shared_endpoint: Served) -> None:
    session_id = Tool(shared_endpoint, **{"x-oblix-session": "new"}).say("Secret?", "1")
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Show it."}]}
    other = shared_endpoint.http(shared_endpoint.new_token("other"), **{"x-oblix-session": session_id})
    reply = other.post("/v1/chat/completions", json=body)
    assert (reply.status_code, reply.headers["x-oblix-reason"]) == (404, "SESSION_NOT_FOUND")


def test_nothing_is_kept_unless_it_is_asked_for(shared_endpoint: Served) -> None:
    before = sessions(shared_endpoint)
    assert Tool(shared_endpoint).say("One?", "1") == ""
    assert sessions(shared_endpoint) == before


def test_a_response_goes_on_from_one_that_is_kept(shared_endpoint: Served) -> None:
    shared_endpoint.server.script("1", "2", "3")
    client = shared_endpoint.openai()
    first = client.responses.create(model=MODEL, input="One?", store=True)
    second = client.responses.create(model=MODEL, input="Two?", previous_response_id=first.id)
    sent = [one["content"] for one in shared_endpoint.server.requests[-1].body["messages"]]
    assert sent == ["One?", "1", "Two?"]
    fork = client.responses.with_raw_response.create(
        model=MODEL, input="Three?", previous_response_id=first.id
    )
    sent = [one["content"] for one in shared_endpoint.server.requests[-1].body["messages"]]
    assert sent == ["One?", "1", "Three?"], "what was said after the first response stays out"
    assert [text for _, text in recorded_messages(shared_endpoint, fork.headers["x-oblix-session"])] == [
        "One?",
        "1",
        "Three?",
        "3",
    ]
    assert second.output_text == "2"
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model=MODEL, input="?", previous_response_id="resp_unknown")
    assert caught.value.code == "previous_response_not_found"


@pytest.fixture(scope="module")
def auto(serving_with: Callable[[str], AbstractContextManager[Served]]) -> Iterator[Served]:
    """One that records every conversation: no header is needed."""
    with serving_with('record = "auto"') as one:
        yield one


def test_a_conversation_is_known_by_its_newest_answer(auto: Served) -> None:
    tool = Tool(auto)
    session_id = tool.say("Known?", "Known 1")
    assert tool.say("Still?", "Known 2") == session_id
    assert len(recorded_messages(auto, session_id)) == 4


def test_two_runs_with_the_same_first_words_stay_two(auto: Served) -> None:
    one, two = Tool(auto), Tool(auto)
    assert one.say("Twice?", "Twice 1") != two.say("Twice?", "Twice 2")


def test_a_first_question_that_failed_is_known_again(auto: Served) -> None:
    tool = Tool(auto)
    before = sessions(auto)
    with pytest.raises(openai.BadRequestError):
        tool.say("Failed?", Answer(fault=Refuse(400, "something is wrong")))
    session_id = tool.send("Now.")
    assert [text for _, text in recorded_messages(auto, session_id)] == ["Failed?", "Now."]
    assert sessions(auto) == before + 1


def test_another_answer_to_a_later_question_is_a_version(auto: Served) -> None:
    tool = Tool(auto)
    session_id = tool.say("First?", "Version 1")
    tool.say("Second?", "Version 2")
    tool.messages.pop()
    assert tool.send("Version 3") == session_id
    assert [text for _, text in recorded_messages(auto, session_id)] == [
        "First?",
        "Version 1",
        "Second?",
        "Version 3",
    ]


def test_the_runs_of_a_tool_go_on_with_each_other_s_conversations(auto: Served) -> None:
    tool = Tool(auto)
    tool.client = tool.client.with_options(api_key=auto.new_token("knitter.run-17"))
    session_id = tool.say("How many stitches?", "Forty, for a scarf of this width, and more for a shawl.")
    tool.client = tool.client.with_options(api_key=auto.new_token("knitter.run-18"))
    assert tool.say("And rows?", "Two hundred.") == session_id
    tool.client = tool.client.with_options(api_key=auto.new_token("knitter.running"))
    assert tool.say("And fringes?", "Twelve.") != session_id


def test_a_title_that_the_tool_asks_for_is_not_recorded(auto: Served) -> None:
    before = sessions(auto)
    tool = Tool(auto)
    tool.messages = [{"role": "system", "content": "You write a title for a chat by its first message."}]
    assert tool.say("What grows in shade?", "Shade plants") == ""
    assert sessions(auto) == before
    named = Tool(auto, **{"x-oblix-session": "new"})
    named.messages = list(tool.messages[:1])
    assert named.say("What grows in shade?", "Shade plants") != "", "who names a session gets one"


COMPACT = f"Create a summary of the conversation so far, to go on from it.{' Keep every name.' * 20}"
SUMMARY = "The person asked what grows in shade, and was told that it is moss." * 4


def test_a_conversation_goes_on_from_a_summary_of_it(auto: Served) -> None:
    tool = Tool(auto)
    session_id = tool.say("What grows in much shade?", "Moss, in most gardens that were looked at.")
    assert tool.say(COMPACT, SUMMARY) == ""
    tool.messages = [{"role": "user", "content": "What grows in much shade?"}]
    tool.messages.append({"role": "user", "content": f"Summary of what was said:\n{SUMMARY}"})
    assert tool.say("And in sun?", "Thyme.") == session_id
    assert tool.say("And on walls?", "Ivy, if it is let.") == session_id
    assert [text for _, text in recorded_messages(auto, session_id)] == [
        "What grows in much shade?",
        "Moss, in most gardens that were looked at.",
        "And in sun?",
        "Thyme.",
        "And on walls?",
        "Ivy, if it is let.",
    ]


@pytest.mark.parametrize("purge", [False, True])
def test_a_conversation_goes_on_after_its_session_was_deleted(auto: Served, purge: bool) -> None:
    tool = Tool(auto)
    session_id = tool.say(f"What grows in shade, purged {purge}?", "Moss, as far as anybody has seen it.")
    summary = f"Purged is {purge}. {SUMMARY}"
    assert tool.say(COMPACT, summary) == ""
    stub = sessions_pb2_grpc.SessionServiceStub(auto.daemon.channel)
    stub.DeleteSession(sessions_pb2.DeleteSessionRequest(session_id=session_id, purge=purge))
    tool.messages = [{"role": "user", "content": f"Summary of what was said:\n{summary}"}]
    new_id = tool.say("And in sun?", "Thyme, which needs little water.")
    assert new_id not in ("", session_id)
    assert tool.say("And on walls?", "Ivy, if it is let.") == new_id


def test_a_summary_may_be_made_of_a_quoted_conversation(auto: Served) -> None:
    tool = Tool(auto)
    session_id = tool.say("What grows where it is quoted?", "Moss, in most gardens that were looked at.")
    helper = Tool(auto)
    helper.messages = [{"role": "system", "content": "You are a summarization assistant for chats."}]
    assert (
        helper.say("<conversation>\n[User]: What grows where it is quoted?\n</conversation>", SUMMARY) == ""
    )
    tool.messages = [
        {"role": "user", "content": "What did we do?"},
        {"role": "assistant", "content": SUMMARY},
    ]
    assert tool.say("And in the sun?", "Thyme.") == session_id


TOOLS = [{"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}]
MODE = "你是一个编程助手。"
"""The system message of a tool that speaks Chinese."""


def ask(auto: Served, system: str, *said: str, **more: Any) -> str:
    """Send what a tool sends: messages in turn. Returns the session's id."""
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(said)]
    body = {"model": MODEL, "messages": [{"role": "system", "content": system}, *messages], **more}
    auto.server.script(Answer("苔藓喜欢在阴凉处生长请看。"))
    reply = auto.http().post("/v1/chat/completions", json=body)
    reply.raise_for_status()
    return reply.headers.get("x-oblix-side-request", "") or reply.headers["x-oblix-session"]


@pytest.mark.parametrize(
    ("system", "said", "more"),
    [
        ("用十个字以内概括标题。", ("阴影里长什么植物",), {"max_tokens": 50}),
        ("用十个字以内概括标题。", ("用户: 阴影里长什么植物\n助手: 苔藓喜欢在阴凉处生长请看。",), {}),
        ("总结。", ('[{"用户": "阴影里长什么植物"}, {"助手": "苔藓喜欢在阴凉处生长请看。"}]',), {}),
    ],
    ids=["title of a question", "title of both", "quoted as JSON"],
)
def test_in_any_language_a_tool_s_own_request_is_known_by_its_shape(
    auto: Served, system: str, said: tuple[str, ...], more: dict[str, Any]
) -> None:
    ask(auto, MODE, "阴影里长什么植物", tools=TOOLS)
    before = sessions(auto)
    assert ask(auto, system, *said, **more) == "title"
    assert sessions(auto) == before


def test_a_sentence_that_holds_the_word_of_a_conversation_is_a_person_s(auto: Served) -> None:
    ask(auto, MODE, "test", tools=TOOLS)
    assert ask(auto, "You are a poet.", "Write a test in verse.", max_tokens=900) != "title"
    for quoted in ("test", "User: test\nAnswer: Yes.", '[{"user": "test"}]'):
        assert ask(auto, "用十个字以内概括标题。", quoted, max_tokens=50) == "title"


def test_in_any_language_a_summary_is_known_by_its_shape(auto: Served) -> None:
    asked = ("墙上长什么植物", "苔藓喜欢在阴凉处生长请看。")
    ask(auto, MODE, asked[0], tools=TOOLS)
    assert ask(auto, "总结对话。", *asked, "请总结。", max_tokens=900) == "summary"


def test_a_person_who_changes_the_mode_of_a_tool_is_recorded(auto: Served) -> None:
    asked = ("水里长什么植物", "苔藓喜欢在阴凉处生长请看。")
    session_id = ask(auto, MODE, asked[0], tools=TOOLS)
    assert ask(auto, "只回答问题。", *asked, "为什么") == session_id
    again = ask(auto, "只回答问题。", asked[0])
    assert again not in (session_id, "title")
    assert ask(auto, MODE, f"请检查:{asked[0]} {asked[1]}", tools=TOOLS) not in (session_id, "title")


def test_an_exchange_that_the_tool_adds_behind_the_answer_hides_no_conversation(auto: Served) -> None:
    tool = Tool(auto)
    session_id = tool.say("What is behind?", "Moss.")
    tool.messages.append({"role": "user", "content": "I share no files."})
    tool.messages.append({"role": "assistant", "content": "Ok, no files."})
    assert tool.say("And in sun?", "Thyme.") == session_id


def test_a_reminder_that_ends_the_system_message_too_is_not_the_person_s(auto: Served) -> None:
    reminder = "To change a file, answer with all of it.\n\nNever leave anything out of the file. " * 4
    tool = Tool(auto)
    tool.messages[0]["content"] = f"You are a tool.\n{reminder}"
    session_id = tool.say(f"What is repeated?\n\n{reminder}", "Moss.")
    tool.messages[1]["content"] = "What is repeated?  \n"
    assert tool.say(f"And in sun?\n\n{reminder}", "Thyme.") == session_id


def test_a_reminder_that_the_tool_changes_later_hides_no_conversation(auto: Served) -> None:
    tool = Tool(auto)
    session_id = tool.say("<reminder>\nMonday\n</reminder>What is reminded?", "Moss.")
    tool.messages[1]["content"] = "What is reminded?"
    assert tool.say("<reminder>\nTuesday\n</reminder>And in sun?", "Thyme.") == session_id


def test_two_conversations_that_ended_in_the_same_words_stay_two(auto: Served) -> None:
    one, two = Tool(auto), Tool(auto)
    first = one.say("Cut the moss.", "Done.")
    second = two.say("Cut the ivy.", "Done.")
    assert one.say("And the lawn?", "Done, too.") == first
    assert two.say("And the hedge?", "Done, as well.") == second


def test_a_first_question_with_examples_before_it_is_known_again(auto: Served) -> None:
    tool = Tool(auto)
    tool.messages.append({"role": "user", "content": "An example."})
    tool.messages.append({"role": "assistant", "content": "Ok."})
    before = sessions(auto)
    with pytest.raises(openai.BadRequestError):
        tool.say("Exemplary?", Answer(fault=Refuse(400, "something is wrong")))
    session_id = tool.send("Now.")
    assert [text for _, text in recorded_messages(auto, session_id)] == ["Exemplary?", "Now."]
    assert sessions(auto) == before + 1


def test_a_title_is_the_first_paragraph_of_the_person_s_own(auto: Served) -> None:
    said = "<reminder>\nA skill.\n</reminder>\n<date>today</date>What climbs?\n\nAnswer in JSON, always."
    session_id = Tool(auto).say(said, "{}")
    stub = sessions_pb2_grpc.SessionServiceStub(auto.daemon.channel)
    session = stub.GetSession(sessions_pb2.GetSessionRequest(session_id=session_id)).session
    assert session.title == "What climbs?"


def test_a_message_of_tags_before_the_question_is_sent_and_not_recorded(auto: Served) -> None:
    tool = Tool(auto)
    told = "<environment>\n<cwd>/garden</cwd>\n</environment>"
    tool.messages.append({"role": "user", "content": told})
    session_id = tool.say("What is told?", "Moss.")
    assert [one["content"] for one in auto.server.requests[-1].body["messages"]][1:] == [
        told,
        "What is told?",
    ]
    assert tool.say("And in sun?", "Thyme.") == session_id
    assert [text for _, text in recorded_messages(auto, session_id)] == [
        "What is told?",
        "Moss.",
        "And in sun?",
        "Thyme.",
    ]


def test_a_request_that_is_refused_leaves_no_session(auto: Served) -> None:
    stub = sessions_pb2_grpc.SessionServiceStub(auto.daemon.channel)
    wanted = sessions_pb2.ListSessionsRequest(page_size=1000)
    before = len(stub.ListSessions(wanted).sessions)
    assert auto.http().post("/v1/chat/completions", json={"model": MODEL, "messages": []}).status_code == 400
    assert len(stub.ListSessions(wanted).sessions) == before
