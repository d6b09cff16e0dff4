"""Prices: which one a model has, and what tokens cost by it."""

from __future__ import annotations

import re

import pytest

from oblixd.store import Store
from oblixd.usage import Price, Prices, Usage
from oblixd.usage.prices import PATTERN, parse_price

GIVEN = ["openai:gpt-4o-mini=0.15/0.60", "openai:*=2.5/10", "openai:gpt-4o*=5/15", "ollama:big=0.01/0.02"]


@pytest.mark.parametrize(
    ("model", "is_local", "price"),
    [
        ("openai:gpt-4o-mini", False, Price(0.15, 0.6)),
        ("openai:gpt-4o", False, Price(5, 15)),
        ("openai:o3", False, Price(2.5, 10)),
        ("claude:opus", False, None),
        ("ollama:small", True, Price(0, 0)),
        ("ollama:big", True, Price(0.01, 0.02)),
        ("ollama:small-cloud", False, None),
    ],
)
def test_the_narrowest_price_counts(model: str, is_local: bool, price: Price | None) -> None:
    assert Prices(dict(map(parse_price, GIVEN))).of(model, is_local=is_local) == price


def test_a_name_with_signs_is_cut_at_the_last_equals_sign() -> None:
    assert Prices(dict([parse_price("custom:a=1/2:q4=3/4")])).of("custom:a=1/2:q4") == Price(3, 4)


@pytest.mark.parametrize("text", ["", "openai:x", "openai:x=1", "a b=1/2", "x=-1/2", "x=1/2/", "x=nan/1"])
def test_a_malformed_price_is_refused(text: str) -> None:
    assert not re.fullmatch(PATTERN, text)


async def test_a_cost_is_known_where_price_and_tokens_are(store: Store) -> None:
    usage = Usage(store, Prices(dict(map(parse_price, GIVEN))))
    assert usage.cost("openai:gpt-4o-mini", 1_000_000, 500_000) == pytest.approx(0.45)
    assert usage.cost("openai:gpt-4o-mini", None, 7) is None
    assert usage.cost("claude:opus", 1, 1) is None
    assert usage.cost("ollama:small", None, None, is_local=True) == 0


def test_cached_tokens_have_a_price_of_their_own() -> None:
    price = Price(10, 20, cache_read=1, cache_write=12.5)
    assert price.cost(1_000_000, 0, 600_000, 200_000) == pytest.approx(2 + 0.6 + 2.5)
    assert price.cost(1_000_000, 1_000_000, 0, 0) == pytest.approx(30)
    assert Price(10, 20).cost(1_000_000, 0, 600_000, 200_000) == pytest.approx(10), "none: as the rest"
    assert price.cost(100, 0, 5000, 5000) == pytest.approx(100 / 1e6), "never more than there is"
    assert not Price(0, 0, cache_write=1).is_free
