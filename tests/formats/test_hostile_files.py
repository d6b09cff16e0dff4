"""Whatever is in a file: it is read, or refused by name, in bounded memory."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import SupportsIndex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oblix import InvalidArgumentError
from oblix.formats import catalog, values
from oblix.formats import oblix_json as session_json
from oblix.formats.agents.logs import opencode_files
from oblix.formats.agents.origin import Origin
from oblix.formats.parts import separate_thoughts
from oblix.formats.reading import read_file
from oblix.v1 import messages_pb2, sessions_pb2
from support.data.conversation_strategies import chatgpt, lines, node, openwebui, spoil
from support.data.import_files import conversations_in, problem, read

MIB = 1024 * 1024
CHAT = {"messages": [{"role": "user", "content": "Hi"}]}


SEEDS = [
    json.dumps(chatgpt([node("a", None), node("b", "a", "assistant", "yes")])).encode(),
    json.dumps([openwebui([{"id": "a", "parentId": None, "role": "user", "content": "hi"}])]).encode(),
    json.dumps({"conversations": [{"from": "human", "value": "hi"}]}).encode(),
    lines(CHAT, CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}),
    gzip.compress(lines(CHAT), mtime=0),
]
IMAGE = "data:image/png;base64,AA=="
RICH = {
    "chatgpt": chatgpt([node("a", None), node("b", "a", "assistant", "yes")]),
    "openwebui": openwebui(
        [
            {
                "id": "a",
                "parentId": None,
                "role": "user",
                "content": "hi",
                "files": [{"type": "image", "url": "x"}],
            },
            {"id": "b", "parentId": "a", "role": "assistant", "content": "yo", "usage": {"eval_count": 3}},
        ]
    ),
    "grok": {
        "conversation": {"id": "g", "title": "t"},
        "responses": [
            {"response": {"_id": "1", "sender": "human", "message": "q", "file_attachments": ["f"]}},
            {"response": {"_id": "2", "parent_response_id": "1", "sender": "ASSISTANT", "message": "a"}},
        ],
    },
    "deepseek": {
        "mapping": {"1": {"parent": None, "message": {"fragments": [{"type": "REQUEST", "content": "hi"}]}}},
        "inserted_at": "2026-01-01T00:00:00Z",
    },
    "claude": {
        "uuid": "c",
        "chat_messages": [
            {
                "uuid": "1",
                "sender": "human",
                "parent_message_uuid": None,
                "content": [{"type": "text", "text": "hi"}],
            },
        ],
    },
    "librechat": {
        "conversationId": "l",
        "messages": [{"messageId": "1", "isCreatedByUser": True, "text": "hi", "children": []}],
    },
    "lmstudio": {
        "name": "n",
        "messages": [
            {
                "versions": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
                "currentlySelected": 0,
            }
        ],
    },
    "bigagi": {
        "messages": [
            {"id": "1", "role": "user", "fragments": [{"ft": "c", "part": {"pt": "text", "text": "hi"}}]}
        ]
    },
    "pairs": {"prompt": "hi", "chosen": "yo", "rejected": "no", "score": 3},
    "plain": {"log": {"lines": [{"speaker": "human", "body": "hi"}, {"speaker": "bot", "body": "yo"}]}},
    "sharegpt": {"id": 3, "system": "s", "conversations": [{"from": "human", "value": "hi"}]},
    "json": json.loads(
        session_json.dump(
            sessions_pb2.Session(title="t"),
            [
                messages_pb2.Message(
                    role=2, parts=[messages_pb2.Part(reasoning="r")], usage=messages_pb2.Usage(input_tokens=1)
                )
            ],
        )
    ),
    "jsonl": {
        "metadata": {"a": [1]},
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
                "oblix": {"usage": {"input_tokens": "3"}, "create_time": "2026-01-01T00:00:00Z"},
            },
            {"role": "tool", "tool_call_id": "1", "content": "2"},
        ],
        "oblix": {"context": {"a": None}, "retention": {"days": 3}},
    },
}


@settings(max_examples=120, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.sampled_from(SEEDS)), st.data())
def test_any_bytes_are_read_or_refused(tmp_path_factory, seed: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(seed)))
    junk = data.draw(st.binary(max_size=6))
    path = tmp_path_factory.getbasetemp() / "any.bytes"
    path.write_bytes(seed[:place] + junk + seed[place + data.draw(st.integers(0, 9)) :])
    with suppress(InvalidArgumentError):
        read(path)


@pytest.mark.parametrize("name", catalog.READ)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_json_is_understood_or_refused_by_every_reader(name: str, data: st.DataObject) -> None:
    value = RICH[name]
    assert catalog.reader(name).read(value).messages
    for _ in range(data.draw(st.integers(1, 3))):
        value = spoil(value, data)
    with suppress(InvalidArgumentError):
        conversation = catalog.reader(name).read(value)
        assert conversation.session.source_id.startswith(f"{name}:")
        assert conversation.messages or conversation.notes


WRONG = {
    "empty": (b"", "it is empty"),
    "blank": (b" \n\t", "it is empty"),
    "bare": (b"\xef\xbb\xbf", "it is empty"),
    "cut text": (b'[{"messages": [{"role": "user", "content": "Hel', "in the middle of conversation 1"),
    "cut list": (b'[{"messages": []}, {"mess', "in the middle of conversation 2"),
    "cut after one": (b'[{"messages": []},\n', "in the middle of conversation 2"),
    "cut before the end": (b'[{"messages": []}', "it ends before its list does"),
    "cut word": (b"[tr", "it is not JSON: Expecting value at character 1"),
    "no comma": (b'[{"messages": []} {"messages": []}]', "a comma or the list's end is missing"),
    "more behind": (b'[{"messages": []}] x', "something follows its list at character 19"),
    "comma at the end": (b'[{"messages": []}, ]', "not JSON: Expecting value at character 19"),
    "no json": (b"Dear diary, " * 99, "it is not JSON: Expecting value at character 0"),
    "latin 1": (b'[{"messages": [], "title": "caf\xe9"}]', "it is not UTF-8 text"),
    "utf 16": ('[{"messages": []}]'.encode("utf-16"), "it is not UTF-8 text"),
    "nan": (b'[{"messages": [NaN]}]', "NaN is not a number in JSON"),
    "long number": (b"[" + b"9" * 5000 + b"]", "it is not JSON: Exceeds the limit"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "control": (b'["a\x01b"]', "Invalid control character at character 3"),
    "gzip of nothing": (gzip.compress(b""), "it is empty"),
    "cut gzip": (gzip.compress(lines(CHAT) * 50)[:-20], "damaged or cut off"),
    "broken gzip": (b"\x1f\x8b" + b"nonsense" * 9, "damaged or cut off"),
    "broken zip": (b"PK\x03\x04" + b"nonsense" * 9, "damaged zip file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_broken_file_is_refused_by_name_place_and_problem(tmp_path: Path, name: str) -> None:
    path = tmp_path / "broken"
    path.write_bytes(WRONG[name][0])
    assert WRONG[name][1] in problem(path)


def test_a_broken_line_is_refused_and_the_next_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(lines(CHAT) + b'{"mess\n\n\xff\n' + b"[" * 100_000 + b"\n" + lines(CHAT)[:-1])
    problems = [each for each in read(path) if isinstance(each, InvalidArgumentError)]
    places = [f"{path}, line {number} can't be imported: it is" for number in (2, 4, 5)]
    assert [p.message.startswith(place) for p, place in zip(problems, places, strict=True)] == [True] * 3
    assert len(read(path)) == 5


def test_sessions_read_before_the_broken_place_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_bytes(json.dumps([CHAT] * 3).encode()[:-9])
    found = conversations_in(path)
    assert len(list(itertools.islice(found, 2))) == 2
    with pytest.raises(InvalidArgumentError, match="in the middle of conversation 3"):
        next(found)


def test_each_element_of_a_long_list_is_found_whole(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(values, "CHUNK_BYTES", 61)  # no element, and no character, is safe from being cut
    texts = ['é👋\\"\u2028' * (n % 40) for n in range(200)]
    path = tmp_path / "list.json"
    chats = [{"messages": [{"role": "user", "content": text}], "n": n} for n, text in enumerate(texts)]
    path.write_text(json.dumps(chats, ensure_ascii=False, indent=1))
    assert [c.messages[0].parts[0].text if c.messages else "" for c in read(path)] == texts


@pytest.mark.parametrize("size", range(1, 9))
def test_no_number_or_word_is_cut(monkeypatch, size: int) -> None:
    monkeypatch.setattr(values, "CHUNK_BYTES", size)
    given_ = [123456, -1.5e10, True, None, "\u00e9", 7]
    stream = io.BufferedReader(io.BytesIO(json.dumps(given_).encode()))
    assert [found.value for found in values.values(stream, "file")] == given_


class Endless(io.RawIOBase):
    """A stream that somebody else's bytes fill: so many of them, made as they are read."""

    def __init__(self, start: bytes, again: bytes, size: int) -> None:
        self._block = (again * (MIB // len(again) + 1))[: MIB // len(again) * len(again)]
        self._left = [start] if start else []
        self._size = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if self._size <= 0:
            return 0
        block = self._left.pop() if self._left else self._block
        data, rest = block[: len(buffer)], block[len(buffer) :]
        if rest:
            self._left.append(rest)
        buffer[: len(data)] = data
        self._size -= len(data)
        return len(data)


def peak_of(stream: Endless) -> tuple[int, int, str]:
    """How much memory reading takes at most, how many values come, and what is refused."""
    tracemalloc.start()
    count, refusal = 0, ""
    try:
        for found in values.values(io.BufferedReader(stream, MIB), "file"):
            count += found.problem is None
            refusal = found.problem.message if found.problem else refusal
    except InvalidArgumentError as error:
        refusal = error.message
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak, count, refusal


ELEMENT = json.dumps(CHAT | {"title": "t" * 20_000}).encode()


@pytest.mark.parametrize(("start", "again"), [(b"[" + ELEMENT, b"," + ELEMENT), (b"", ELEMENT + b"\n")])
def test_a_large_file_is_read_in_bounded_memory(start: bytes, again: bytes) -> None:
    peak, count, _ = peak_of(Endless(start, again, 60 * MIB))
    assert count > 2900
    assert peak < 12 * MIB


@pytest.mark.parametrize(
    ("start", "again", "problem"),
    [
        (b'["', b"x", "one conversation may have 4 MiB"),
        (b'{"messages": []}\n"', b"x", "line 2 can't be imported: one conversation may have 4 MiB"),
        (b"", b"[],", "something follows its list"),
        (b"[[", b"[],", "more than 100,000 values"),
        (b"[[", b'{"a":1},', "more than 100,000 values"),
        (b'[["', b'","', "more than 100,000 values"),
        (b"[[", b"1,", "more than 100,000 values"),
        (b"", b" ", "it is empty"),
        (b"[", b" ", "it ends in the middle of conversation 1"),
        (b"[", b"[", "more than 100,000 values"),
    ],
)
def test_a_bomb_is_refused_in_bounded_memory(monkeypatch, start: bytes, again: bytes, problem: str) -> None:
    monkeypatch.setattr(values, "MAX_CHARACTERS", 4 * MIB)
    monkeypatch.setattr(values, "MAX_TOKENS", 100_000)
    peak, _, refusal = peak_of(Endless(start, again, 20 * MIB))
    assert problem in refusal
    assert peak < 30 * MIB


def test_brackets_and_commas_inside_texts_are_no_bomb(monkeypatch) -> None:
    monkeypatch.setattr(values, "MAX_TOKENS", 1000)
    content = json.dumps(CHAT | {"title": '[{,\\"' * 5000}).encode()
    for data in (content, b"[" + content + b"]", content + b"\n" + content):
        found = list(values.values(io.BufferedReader(io.BytesIO(data)), "file"))
        assert [each.problem for each in found] == [None] * len(found)


def test_an_old_session_of_opencode_reads_no_file_outside_of_its_folders(tmp_path: Path) -> None:
    info = {"id": "ses_1/../../elsewhere", "projectID": "global", "directory": "/garden"}
    part = {"id": "prt_1", "type": "text", "text": "Hi"}
    files = {
        "session/global/ses_1.json": info,
        "message/ses_1/msg_1.json": {"id": "msg_1", "role": "user"},
        "elsewhere/msg_1.json": {"id": "msg_1", "role": "user"},
        "part/msg_1/prt_1.json": part,
    }
    for path, value in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps(value))
    assert [one.problem for one in read_file(tmp_path / "session/global/ses_1.json", None)] == [None]
    assert opencode_files.read([info], Origin(tmp_path / "session/global/ses_1.json")) == []
    (said,) = opencode_files.read([info | {"id": "ses_1"}], Origin(tmp_path / "session/global/ses_1.json"))
    assert said.messages[0].parts[0].text == "Hi"


def test_an_old_session_of_opencode_may_stand_right_below_the_root() -> None:
    info = {"id": "ses_1", "projectID": "global", "directory": "/garden"}
    assert opencode_files.read([info], Origin(Path("/ses_1.json"))) == []


def test_a_name_that_no_file_can_have_leads_nowhere(tmp_path: Path) -> None:
    assert Origin(tmp_path / "CURRENT").neighbour("chunks/\0.json") is None


class Counting(str):
    """A text that counts how often a part of it is copied."""

    __slots__ = ()
    copies = 0

    def __getitem__(self, key: SupportsIndex | slice) -> Counting:
        Counting.copies += 1
        return Counting(super().__getitem__(key))


def test_a_text_of_many_thoughts_is_copied_once() -> None:
    thoughts, rest = separate_thoughts(Counting("<think>Hm.</think> " * 1000 + "Moss."))
    assert (len(thoughts), rest, Counting.copies) == (1000, "Moss.", 1)


@pytest.mark.parametrize("text", ["<task>" * 400_000, "<task>" + " " * 2_000_000])
def test_tags_without_an_end_take_linear_time(tmp_path: Path, text: str) -> None:
    """The square of it would take minutes."""
    path = tmp_path / "api_conversation_history.json"
    path.write_text(json.dumps([{"role": "user", "content": [{"type": "text", "text": text}]}]))
    (found,) = read_file(path, None)
    assert found.conversation.messages[0].parts[0].text == text
