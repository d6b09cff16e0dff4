"""What is written is read as it was, whatever people and models have said."""

from __future__ import annotations

import io
import json

from hypothesis import given, settings
from oblix.formats import catalog, jsonl
from oblix.formats import oblix_json as session_json
from oblix.formats.exports import markdown
from oblix.formats.values import values
from support.data.conversation_strategies import conversations


def read(data: bytes):
    """Every conversation of a file, as an import reads it."""
    for found in values(io.BufferedReader(io.BytesIO(data)), "file"):
        assert found.problem is None
        yield catalog.detect(found.value).read(found.value)


@settings(max_examples=80, deadline=None)
@given(conversations)
def test_json_lines_bring_everything_back(given_) -> None:
    session, messages = given_
    (back,) = read(jsonl.dump(session, messages).encode())
    assert back.messages == messages
    assert back.session.source_id == f"jsonl:{session.id}"
    back.session.ClearField("source_id")
    assert back.session == session


@settings(max_examples=80, deadline=None)
@given(conversations)
def test_a_session_that_was_read_is_written_as_it_was(given_) -> None:
    session, messages = given_
    written = session_json.dump(session, messages)
    (back,) = read(written.encode())
    assert session_json.dump(back.session, back.messages) == written


@settings(max_examples=15, deadline=None)
@given(conversations, conversations)
def test_a_file_holds_any_number_of_sessions(first, second) -> None:
    for name in ("json", "jsonl"):
        layout = catalog.WRITTEN[name]
        whole = layout.start + layout.dump(*first) + layout.between + layout.dump(*second) + layout.end
        again = [layout.dump(each.session, each.messages) for each in read(whole.encode())]
        assert again == [layout.dump(*first), layout.dump(*second)]


@settings(max_examples=15, deadline=None)
@given(conversations)
def test_json_lines_keep_to_openais_style(given_) -> None:
    line = jsonl.dump(*given_)
    assert line.count("\n") == 1
    for message in json.loads(line)["messages"]:
        assert message["role"] in ("system", "user", "assistant", "tool")
        assert isinstance(message["content"], str | list)


@settings(max_examples=20, deadline=None)
@given(conversations)
def test_markdown_shows_what_was_said_and_takes_over_no_terminal(given_) -> None:
    page = markdown.dump(*given_)
    assert page.startswith("# ")
    assert not set(page) & set(map(chr, [*range(9), 11, *range(13, 32), *range(127, 160)]))
    assert page.count("\n## ") >= len(given_[1])
