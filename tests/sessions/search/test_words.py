"""How texts become words, and what of them is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblixd.sessions.search.request import Query
from oblixd.sessions.search.snippets import SNIPPET_CHARACTERS, snippet
from oblixd.sessions.search.tokenizer import MAX_WORD_CHARACTERS, compose, locate_words, pieces, words

HOSTILE = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(" \t\n\x00\"'*():^-+{}[]\\%_\u0301\u200d\ufe0fßİﬁ½Å日한กé"),
    ),
    max_size=60,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World! snake_case C++", "hello world snake case c"),
        ("Ünïcödé STRASSE Straße ﬁne x²", "unicode strasse strasse fine x2"),
        ("nai\u0308ve na\u00efve", "naive naive"),
        ("日本語テキスト", "日 本 語 テ キ ス ト"),
        ("한국어 \u1112\u1161\u11ab", "한 국 어 한"),
        ("हिन्दी में", "हिन्दी में"),
        ("שָׁלוֹם كِتَاب", "שלום كتاب"),
        ("ёлка Ёлка", "елка елка"),
        ("❤\ufe0f 👩\u200d👧", "❤ 👩 👧"),
        ("soft\u00adhyphen", "softhyphen"),
        ("\x00 \t\n ,.;", ""),
    ],
)
def test_words_are_folded(text: str, expected: str) -> None:
    assert " ".join(words(text)) == expected


@given(HOSTILE)
def test_each_word_has_its_place(text: str) -> None:
    text = compose(text)
    found = locate_words(text)
    assert [word.word for word in found] == words(text)
    # What stands at the place is that word: it may be one of several that one character stands for.
    assert all(word.word in words(text[word.start : word.end]) for word in found)


@given(HOSTILE)
def test_words_stay_what_they_are(text: str) -> None:
    assert words(" ".join(words(text))) == words(text)


def test_a_long_word_is_known_by_its_beginning() -> None:
    assert words("a" * 1000) == ["a" * MAX_WORD_CHARACTERS]


@given(st.text(st.sampled_from("ab \n"), max_size=50), st.integers(1, 20))
def test_pieces_are_the_text(text: str, size: int) -> None:
    found = list(pieces(text, size))
    assert "".join(found) == text
    assert all(len(piece) <= size for piece in found)


def test_a_text_in_many_pieces_has_the_same_words() -> None:
    text = "éa b " * 40_000
    assert words(text) == ["ea", "b"] * 40_000


def _snippet(text: str, query: str) -> tuple[str, list[str]]:
    found = snippet(text, Query.of(query))
    return found.text, [found.text[span.start : span.start + span.length] for span in found.spans]


def test_a_snippet_shows_the_place_with_the_most_of_the_query() -> None:
    text = "fox " * 100 + "the quick\nbrown fox jumps " + "dog " * 100
    shown, found = _snippet(text, "quick fox")
    assert "quick brown fox jumps" in shown
    assert found[-2:] == ["quick", "fox"]
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert len(shown) <= SNIPPET_CHARACTERS + 2


def test_a_phrase_and_a_prefix_are_marked_whole() -> None:
    assert _snippet("Say Hello, World: it was prefixed", '"hello world" pre*')[1] == [
        "Hello, World",
        "prefixed",
    ]


def test_a_hit_far_into_a_long_text_is_shown() -> None:
    shown, found = _snippet("lorem " * 100_000 + "Nadel im Heuhaufen " + "ipsum " * 1000, "nadel")
    assert found == ["Nadel"]
    assert "im Heuhaufen" in shown


@given(HOSTILE, HOSTILE)
def test_spans_lie_in_the_snippet_in_order(text: str, query: str) -> None:
    found = snippet(text * 9, Query.of(query))
    ends = [0]
    for span in found.spans:
        assert span.start >= ends[-1]
        assert span.length > 0
        ends.append(span.start + span.length)
    assert ends[-1] <= len(found.text) <= SNIPPET_CHARACTERS + 2
