"""What tools ask for themselves is told from what people ask, by kind, whatever the tool's words are."""

from __future__ import annotations

import pytest
from oblix.v1 import executions_pb2, messages_pb2

from oblixd.http.prompt import text_message
from oblixd.http.side_requests import Shape, Side, side_of

SYSTEM, USER, ANSWER = messages_pb2.ROLE_SYSTEM, messages_pb2.ROLE_USER, messages_pb2.ROLE_ASSISTANT
RULES = "\n- Keep file names and numbers.\n- Name what was decided, and why.\n- Write nothing else." * 5
PLAIN = "You are a helpful assistant."


def request(
    *said: tuple[messages_pb2.Role.ValueType, str], tools: bool = False
) -> executions_pb2.ExecuteRequest:
    offered = [executions_pb2.ToolDefinition(name="read")] if tools else []
    return executions_pb2.ExecuteRequest(input=[text_message(*one) for one in said], tools=offered)


@pytest.mark.parametrize(
    "system",
    [
        "You are a title generator. Answer with nothing but the title of the thread.",
        "Write a short title for a chat, given its first message. At most six words.",
        "You write one-line Git commit messages for the diffs that you are given.",
        "Decide whether this message opens a new topic. If it does, extract a title of 2 or 3 words.",
        "Generate three follow-up questions that the user could ask in this conversation.",
        "Reply with up to three tags for the chat, as JSON.",
        "Given the history, produce search queries for the web.",
    ],
)
def test_a_title_is_asked_for_by_the_system_message(system: str) -> None:
    assert side_of(request((SYSTEM, system), (USER, "What grows in shade?"))) is Side.TITLE


@pytest.mark.parametrize(
    "user",
    [
        "### Task:\nGenerate a title for the chat.\n<chat_history>\nUSER: Hello\n</chat_history>",
        "### Task:\nSuggest 3 follow-ups.\n### Chat:\n<chat_history>\nUSER: Hello\n</chat_history>",
        f"Generate a title for this conversation.{RULES}",
        "Please provide tags for the conversation:\n<conversation>\nuser: Hello\n</conversation>",
    ],
)
def test_a_title_is_asked_for_by_a_template(user: str) -> None:
    assert side_of(request((SYSTEM, PLAIN), (USER, user))) is Side.TITLE


@pytest.mark.parametrize(
    ("system", "user"),
    [
        ("You are tasked with summarizing conversations between a person and an agent.", "Go."),
        ("Summarize the messages of a programming session, briefly.", "USER: Hello"),
        ("You are the part that condenses a chat's history into a summary.", "Begin."),
        (PLAIN, f"Create a detailed summary of the conversation so far.{RULES}"),
        (
            PLAIN,
            f"This is a context checkpoint compaction. Write a handoff summary for another model.{RULES}",
        ),
        (PLAIN, f"Provide a prompt to go on with our conversation above: a summary of what we did.{RULES}"),
    ],
)
def test_a_summary_is_asked_for(system: str, user: str) -> None:
    said = [(SYSTEM, system), (USER, "What grows in shade?"), (ANSWER, "Moss."), (USER, user)]
    assert side_of(request(*said)) is Side.SUMMARY


@pytest.mark.parametrize(
    "system",
    [
        "You extract memories: facts of the recent conversation that last.",
        "You act as the memory sub-agent of an assistant. The conversation is before you.",
    ],
)
def test_an_agent_of_the_tool_s_own_reads_the_conversation_once_more(system: str) -> None:
    said = [(SYSTEM, system), (USER, "What grows in shade?"), (ANSWER, "Moss."), (USER, "Save what lasts.")]
    assert side_of(request(*said, tools=True)) is Side.MEMORY
    assert side_of(request(said[0], said[1], tools=True)) is None


@pytest.mark.parametrize("tools", [False, True])
@pytest.mark.parametrize(
    "user",
    [
        "What grows in shade?",
        "Generate a title for this conversation",
        "Write a title for my essay about moss.",
        "Summarize our conversation so far.",
        "Summarize this text: " + "Moss grows in shade, and it needs no soil. " * 20,
        "Summarize the chat below.\n" + "Ann: Hello\nBob: Hello\n" * 40,
        "Write a commit message for this diff:\n" + "+ moss\n" * 100,
        "Write a program that generates titles. " + "It reads a file and prints a line. " * 20,
    ],
)
def test_a_person_s_words_are_a_prompt(user: str, tools: bool) -> None:
    assert side_of(request((SYSTEM, PLAIN), (USER, user), tools=tools)) is None


@pytest.mark.parametrize(
    ("system", "tools"),
    [
        ("You are an agent. Write commit messages for the session's changes with the tool.", True),
        ("You write titles for blog posts.", False),
        ("Act as an expert developer. Reply in English.", False),
    ],
)
def test_an_agent_s_own_instructions_are_no_wish(system: str, tools: bool) -> None:
    assert side_of(request((SYSTEM, system), (USER, "What grows in shade?"), tools=tools)) is None


def test_a_shape_is_read_as_it_was_written() -> None:
    shape = Shape.of(request((SYSTEM, PLAIN), (USER, "Hello")), stream=True)
    assert Shape.read(str(shape)) == shape


@pytest.mark.parametrize(
    "text",
    ["", "a:b:c:d:e", "0123456789abcdef:1:1:many:0", "0123456789abcdef:1:1:-1:0", "::::", "1:1:1"],
)
def test_text_of_a_client_is_no_stored_shape(text: str) -> None:
    assert Shape.read(text) is None
