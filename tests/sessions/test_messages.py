"""Messages: appended, paged, told as they were recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from oblix.v1 import messages_pb2
from oblix.v1.sessions_pb2 import Session
from support.drivers.conversations import all_messages, say, sessions_in, texts

from oblixd.errors import InvalidArgumentError, NotFoundError
from oblixd.sessions import Sessions, listing


async def _session(sessions: Sessions, *said: str) -> str:
    made = await sessions.create(Session())
    if said:
        await sessions.append(made.id, [say(text) for text in said])
    return made.id


async def test_messages_come_back_as_they_were_recorded(tmp_path: Path) -> None:
    given = messages_pb2.Message(
        role=messages_pb2.ROLE_ASSISTANT,
        parts=[
            messages_pb2.Part(text="héllo\0"),
            messages_pb2.Part(image=messages_pb2.ImagePart(media_type="image/png", data=b"\x89PNG\0")),
            messages_pb2.Part(
                tool_call=messages_pb2.ToolCallPart(call_id="c", name="look", arguments_json="{}")
            ),
            messages_pb2.Part(
                tool_result=messages_pb2.ToolResultPart(call_id="c", content="seen", is_error=True)
            ),
            messages_pb2.Part(reasoning="hm"),
        ],
        create_time=Timestamp(seconds=-5, nanos=123_456_789),
        status=messages_pb2.MESSAGE_STATUS_FAILED,
        model="ollama:llama2",
        usage=messages_pb2.Usage(input_tokens=3, output_tokens=4),
    )
    async with sessions_in(tmp_path) as sessions:
        session_id = await _session(sessions)
        recorded = await sessions.append(session_id, [given, say("next")])
    async with sessions_in(tmp_path) as sessions:
        assert all_messages(sessions, session_id) == recorded
    kept = messages_pb2.Message()
    kept.CopyFrom(given)
    kept.id, kept.sequence = recorded[0].id, 1
    kept.create_time.nanos = 123_456_000
    assert recorded[0] == kept
    assert (recorded[1].sequence, recorded[1].status) == (2, messages_pb2.MESSAGE_STATUS_COMPLETE)
    assert recorded[1].create_time.seconds > 0
    assert recorded[1].id != recorded[0].id


async def test_fields_that_only_the_daemon_sets_are_ignored(sessions: Sessions) -> None:
    given = say("x", id="mine", sequence=9, request_id="r", source_session_id="s")
    given.timings.total.seconds = 1
    given.decision.rule = "MINE"
    session_id = await _session(sessions)
    (recorded,) = await sessions.append(session_id, [given])
    assert recorded.id != "mine"
    assert (recorded.sequence, recorded.request_id, recorded.source_session_id) == (1, "", "")
    assert not recorded.HasField("timings")
    assert not recorded.HasField("decision")


async def test_an_append_is_counted_and_moves_the_session_to_the_front(sessions: Sessions) -> None:
    first, second = await _session(sessions), await _session(sessions)
    await sessions.append(first, [say("one"), say("two")])
    newest = sessions.list(page_size=0, page_token="", filter=Struct())[0]
    assert [(session.id, session.message_count) for session in newest] == [(first, 2), (second, 0)]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("page_size", [1, 2, 3, 5, 6])
async def test_pages_together_are_all_messages(
    sessions: Sessions, page_size: int, newest_first: bool
) -> None:
    session_id = await _session(sessions, *"abcde")
    await _session(sessions, "other")
    said, token = [], ""
    while True:
        page, token = sessions.messages(
            session_id, page_size=page_size, page_token=token, newest_first=newest_first
        )
        said += texts(page)
        if not token:
            break
        assert len(page) == page_size
    assert said == list("edcba" if newest_first else "abcde")


async def test_messages_appended_meanwhile_are_on_a_later_page(sessions: Sessions) -> None:
    session_id = await _session(sessions, "a", "b")
    page, token = sessions.messages(session_id, page_size=1, page_token="", newest_first=False)
    await sessions.append(session_id, [say("c")])
    rest, _ = sessions.messages(session_id, page_size=5, page_token=token, newest_first=False)
    assert texts(page + rest) == ["a", "b", "c"]


async def test_a_page_ends_before_it_grows_too_large(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await _session(sessions, "a" * 3000, "b" * 400, "c" * 400, "d" * 400)
    monkeypatch.setattr(listing, "MAX_PAGE_BYTES", 1100)
    page, token = sessions.messages(session_id, page_size=9, page_token="", newest_first=False)
    assert [len(text) for text in texts(page)] == [3000]
    page, token = sessions.messages(session_id, page_size=9, page_token=token, newest_first=False)
    assert [len(text) for text in texts(page)] == [400, 400]
    assert texts(all_messages(sessions, session_id, 9))[3] == "d" * 400


async def test_a_token_belongs_to_its_session_and_direction(sessions: Sessions) -> None:
    one, other = await _session(sessions, "a", "b"), await _session(sessions, "a", "b")
    _, token = sessions.messages(one, page_size=1, page_token="", newest_first=False)
    for session_id, newest_first in ((other, False), (one, True)):
        with pytest.raises(InvalidArgumentError) as caught:
            sessions.messages(session_id, page_size=1, page_token=token, newest_first=newest_first)
        assert caught.value.reason == "PAGE_TOKEN_INVALID"


async def test_history_goes_backwards_from_a_place(sessions: Sessions) -> None:
    session_id = await _session(sessions, *"abcd")
    assert texts(list(sessions.history(session_id, 4))) == ["c", "b", "a"]
    assert list(sessions.history(session_id, 1)) == []


async def test_history_of_a_session_that_is_deleted_meanwhile_ends_in_an_error(sessions: Sessions) -> None:
    session_id = await _session(sessions, *"abcd")
    history = sessions.history(session_id, 4)
    next(history)
    await sessions.delete(session_id)
    with pytest.raises(NotFoundError):
        next(history)


async def test_an_append_is_all_or_nothing(sessions: Sessions) -> None:
    session_id = await _session(sessions, "before")
    with pytest.raises(InvalidArgumentError, match=r"^messages\[1\].role"):
        await sessions.append(
            session_id, [say("good"), messages_pb2.Message(parts=[messages_pb2.Part(text="no role")])]
        )
    assert texts(all_messages(sessions, session_id)) == ["before"]


async def test_messages_of_an_unknown_session_are_not_found(sessions: Sessions) -> None:
    with pytest.raises(NotFoundError):
        await sessions.append("nobody", [say("x")])
    with pytest.raises(NotFoundError):
        sessions.messages("nobody", page_size=0, page_token="", newest_first=False)
    with pytest.raises(NotFoundError):
        next(sessions.history("nobody", 1))


async def test_a_context_is_the_history_as_models_read_it_however_long(sessions: Sessions) -> None:
    session_id = await _session(sessions, *(f"message {number}" for number in range(150)))
    await sessions.exclude(session_id, [70], "BY_REQUEST")
    context, history = (
        list(sessions.tails(lambda one: one).before(session_id, 140)),
        list(sessions.history(session_id, 140)),
    )
    assert texts(context) == texts(history)
    assert [(one.id, one.sequence, one.role, one.model) for one in context] == [
        (one.id, one.sequence, one.role, one.model) for one in history
    ]
    assert [one.sequence for one in context if one.HasField("exclusion")] == [70]
    assert not any(one.HasField("create_time") for one in context)
