"""What a query finds, and in what order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oblix.v1 import messages_pb2, sessions_pb2
from support.drivers.conversations import say, struct
from support.drivers.searching import Library, library_in

from oblixd.errors import InvalidArgumentError, NotFoundError
from oblixd.sessions.search.tokenizer import words

HOSTILE = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(" \t\n\x00\"'*():^-+{}[]\\%_\u0301\u200d\ufe0fßİﬁ½Å日한กé"),
    ),
    min_size=1,
    max_size=200,
)


async def test_all_words_must_be_there(library: Library) -> None:
    await library.session("the quick brown fox", "a quick answer", "brown bread")
    assert await library.snippets("quick brown") == ["the quick brown fox"]
    assert await library.snippets("quick bread") == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("naïve", ["A naive question"]),
        ("STRASSE", ["Die Straße nach Łódź"]),
        ("本語", ["日本語を話します"]),
        ("語日", []),
        ("한국", ["한국어를 배워요"]),
        ("ภาษา", ["ภาษาไทย"]),
        ("हिन्दी", ["हिन्दी में"]),
        ("🦊", ["a 🦊!"]),
        ("ques*", ["A naive question"]),
        ("*", []),
        ("na* que*", ["A naive question"]),
        ('"naive question"', ["A naive question"]),
        ('"question naive"', []),
        ('"naive que"*', ["A naive question"]),
        ('question "naive', ["A naive question"]),
        ("naive-question", ["A naive question"]),
        ("question-naive", []),
        ("naive AND question", []),
        ("NEAR(naive question)", []),
        ("text:naive", []),
    ],
)
async def test_queries_find_the_messages_that_match(library: Library, query: str, found: list[str]) -> None:
    await library.session(
        "A naive question",
        "Die Straße nach Łódź",
        "日本語を話します",
        "한국어를 배워요",
        "ภาษาไทย",
        "हिन्दी में",
        "a 🦊!",
    )
    assert await library.snippets(query) == found


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_any_message_is_found_by_each_of_its_words(tmp_path: Path, runner: asyncio.Runner) -> None:
    library_of = library_in(tmp_path)
    library = runner.run(library_of.__aenter__())

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(HOSTILE, min_size=1, max_size=8))
    def check(texts: list[str]) -> None:
        runner.run(_check_found(library, texts))

    try:
        check()
    finally:
        runner.run(library_of.__aexit__(None, None, None))


async def _check_found(library: Library, texts: list[str]) -> None:
    session = await library.session(*texts)
    for sequence, text in enumerate(texts, 1):
        for query in {text, *text.split(), *words(text), *(f"{word[:2]}*" for word in words(text))}:
            hits = await library.find(query, session_id=session)
            expected = bool(words(query))
            # A quote makes a phrase of what it finds behind it; words of one query may also be far apart.
            assert (sequence in {hit.sequence for hit in hits}) is expected, (query, text)


async def test_a_phrase_as_long_as_a_query_can_be_is_found(library: Library) -> None:
    paragraph = "日本語の文章" * 160
    await library.session(paragraph, "日本語")
    assert [hit.sequence for hit in await library.find(paragraph)] == [1]
    assert [hit.sequence for hit in await library.find(f'"{paragraph}"*')] == [1]


async def test_a_message_is_told_by_its_place(library: Library) -> None:
    session = await library.session("first", title="A title")
    [message] = await library.sessions.append(session, [say("the answer is 42", messages_pb2.ROLE_ASSISTANT)])
    [hit] = await library.find("answer")
    assert (hit.session_id, hit.title, hit.sequence) == (session, "A title", 2)
    assert (hit.message_id, hit.role, hit.create_time) == (message.id, message.role, message.create_time)
    assert hit.score > 0


async def test_a_title_is_found_and_has_no_message(library: Library) -> None:
    session = await library.session("other words", title="Holiday plans")
    [hit] = await library.find("plans holiday")
    assert (hit.session_id, hit.sequence, hit.message_id, hit.role) == (session, 0, "", 0)
    assert hit.snippet == "Holiday plans"
    assert hit.create_time == library.sessions.get(session).update_time


async def test_results_of_tools_are_found_and_reasoning_is_not(library: Library) -> None:
    session = await library.session()
    parts = [
        messages_pb2.Part(reasoning="secretive"),
        messages_pb2.Part(
            tool_call=messages_pb2.ToolCallPart(call_id="1", name="hammer", arguments_json="{}")
        ),
        messages_pb2.Part(tool_result=messages_pb2.ToolResultPart(call_id="1", content="nailed it")),
    ]
    message = messages_pb2.Message(role=messages_pb2.ROLE_ASSISTANT, parts=parts)
    await library.sessions.append(session, [message])
    assert await library.snippets("nailed") == ["nailed it"]
    assert await library.snippets("secretive") == await library.snippets("hammer") == []


async def test_the_best_comes_first(library: Library) -> None:
    await library.session("rare " + "filler " * 50, "rare rare rare", "nothing", *["noise"] * 20)
    hits = await library.find("rare")
    assert [hit.sequence for hit in hits] == [2, 1]
    assert hits[0].score > hits[1].score


async def test_pages_hold_everything_once(library: Library) -> None:
    await library.session(*(f"needle {'hay ' * number}" for number in range(50)))
    found: list[int] = []
    token = ""
    while True:
        answer = await library.ask("needle", page_size=7, page_token=token)
        found += [hit.sequence for hit in answer.hits]
        token = answer.next_page_token
        if not token:
            break
        assert len(answer.hits) == 7
    assert sorted(found) == list(range(1, 51))
    everything = await library.find("needle", page_size=200)
    assert found == [hit.sequence for hit in everything]


async def test_a_page_goes_on_behind_the_last_hit_though_better_ones_came(library: Library) -> None:
    session = await library.session(*(f"needle {'hay ' * number}" for number in range(20)))
    first = await library.ask("needle", page_size=10)
    await library.sessions.append(session, [say("needle needle")] * 5)
    second = await library.ask("needle", page_size=200, page_token=first.next_page_token)
    assert not {hit.sequence for hit in first.hits} & {hit.sequence for hit in second.hits}
    assert {hit.sequence for hit in [*first.hits, *second.hits]} >= set(range(1, 21))


async def test_a_token_is_bound_to_its_query(library: Library) -> None:
    await library.session("needle one", "needle two", metadata=struct(kind="hay"))
    token = (await library.ask("needle", page_size=1)).next_page_token
    for other in (
        {"query": "needles"},
        {"filter": struct(kind="hay")},
        {"archived": sessions_pb2.ARCHIVED_FILTER_INCLUDE},
    ):
        with pytest.raises(InvalidArgumentError, match="page_token"):
            await library.ask(**{"query": "needle", "page_token": token, **other})


async def test_only_in_sessions_that_match(library: Library) -> None:
    labels = {"lang": "de", "stars": 5}
    german = await library.session("wort eins", metadata=struct(**labels))
    english = await library.session("wort two", title="wort", metadata=struct(lang="en", stars=5))
    assert [hit.session_id for hit in await library.find("wort", filter=struct(lang="de"))] == [german]
    assert {hit.session_id for hit in await library.find("wort", filter=struct(stars=5))} == {german, english}
    assert await library.find("wort", filter=struct(lang="de", stars=4)) == []
    assert [hit.sequence for hit in await library.find("wort", session_id=english)] in ([0, 1], [1, 0])


async def test_archived_sessions_are_asked_for(library: Library) -> None:
    put_away, at_hand = await library.session("word"), await library.session("word")
    await library.sessions.update(sessions_pb2.Session(id=put_away, archived=True), ["archived"])
    for wanted, expected in (
        (sessions_pb2.ARCHIVED_FILTER_UNSPECIFIED, {at_hand}),
        (sessions_pb2.ARCHIVED_FILTER_EXCLUDE, {at_hand}),
        (sessions_pb2.ARCHIVED_FILTER_ONLY, {put_away}),
        (sessions_pb2.ARCHIVED_FILTER_INCLUDE, {put_away, at_hand}),
    ):
        assert {hit.session_id for hit in await library.find("word", archived=wanted)} == expected


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"query": ""}, "query"),
        ({"query": "x" * 1001}, "query"),
        ({"page_size": -1}, "page_size"),
        ({"page_token": "nonsense"}, "page_token"),
        ({"session_id": "no/such id"}, "session_id"),
        ({"filter": struct(key=[1])}, "filter.key"),
        ({"archived": 9}, "archived"),
    ],
)
async def test_a_malformed_search_is_refused(library: Library, fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await library.ask(**{"query": "word", **fields})
    assert caught.value.metadata["field"] == field


async def test_an_unknown_session_is_not_found(library: Library) -> None:
    with pytest.raises(NotFoundError):
        await library.ask("word", session_id="unknown")
