"""What a server's rate limit says is read in every form, believed within bounds, and kept per connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

import pytest
from oblix.testing import Answer, ModelServer, Refuse
from support.drivers.model_requests import ask
from support.servers.providers import KINDS, Kind

from oblixd.models.base import Connection
from oblixd.models.http.rate_limit import LONGEST_S, RateLimit, asked_wait_s, reset_s

OPENAI, CLAUDE = "x-ratelimit-{1}-{0}", "anthropic-ratelimit-{0}-{1}"


def in_s(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("1.5s", 1.5),
        ("20ms", 0.02),
        ("2m59.56s", 179.56),
        ("1h2m3.5s", 3723.5),
        ("1d2h", 93600.0),
        ("1m", 60.0),
        ("0s", 0.0),
        ("7", 7.0),
        (" 0.25 ", 0.25),
        ("", None),
        ("soon", None),
        ("s", None),
        ("-5s", None),
        ("1s2m", None),
        ("5 s", None),
        ("1e3", None),
        ("nan", None),
        ("\N{ARABIC-INDIC DIGIT FIVE}s", None),
        ("2015-10-21T07:28:00Z", 0.0),
    ],
)
def test_limits_are_read_in_every_form(text: str, seconds: float | None) -> None:
    assert reset_s(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "write",
    [
        lambda: in_s(30).isoformat(),
        lambda: in_s(30).strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda: in_s(30).replace(tzinfo=None).isoformat(),
        lambda: str(int(time.time()) + 30),
        lambda: str(int((time.time() + 30) * 1000)),
    ],
    ids=["offset", "zulu", "bare", "since 1970", "since 1970 in ms"],
)
def test_resets_are_read_as_instants(write: Callable[[], str]) -> None:
    assert reset_s(write()) == pytest.approx(30, abs=2)


def seconds_left(status: int, headers: Mapping[str, str]) -> float:
    allowance = RateLimit()
    allowance.heard(status, headers)
    return allowance.left_s


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        (OPENAI, "requests"),
        (OPENAI, "tokens"),
        (CLAUDE, "requests"),
        (CLAUDE, "tokens"),
        (CLAUDE, "input-tokens"),
        (CLAUDE, "output-tokens"),
    ],
)
def test_nothing_is_left_until_the_reset(pattern: str, kind: str) -> None:
    remaining, reset = (pattern.format(kind, word) for word in ("remaining", "reset"))
    assert seconds_left(200, {remaining: "0", reset: "30s"}) == pytest.approx(30, abs=1)
    assert seconds_left(200, {remaining: "1", reset: "30s"}) == 0
    assert seconds_left(200, {remaining: "0"}) == 0
    assert seconds_left(200, {remaining: "0", reset: "soon"}) == 0
    assert seconds_left(200, {reset: "30s"}) == 0
    assert seconds_left(200, {remaining: "0", reset: "9" * 400 + "d"}) == pytest.approx(LONGEST_S, abs=1)


def test_the_longest_counts() -> None:
    both = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "5s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "1m",
    }
    assert seconds_left(200, both) == pytest.approx(60, abs=1)


@pytest.mark.parametrize(("status", "counts"), [(429, True), (503, True), (529, True), (500, False)])
def test_a_refused_request_is_sent_again_at_the_time_that_the_server_gave(status: int, counts: bool) -> None:
    for given in ("30", formatdate(time.time() + 30, usegmt=True)):
        assert seconds_left(status, {"Retry-After": given}) == (pytest.approx(30, abs=2) if counts else 0)
    assert seconds_left(429, {"Retry-After": "1e9"}) == 0
    assert seconds_left(429, {"Retry-After": "99999999"}) == pytest.approx(LONGEST_S, abs=1)
    assert seconds_left(429, {}) == 0


def test_the_latest_answer_counts_and_time_passes() -> None:
    allowance = RateLimit()
    allowance.heard(429, {"Retry-After": "30"})
    assert allowance.left_s > 29
    allowance.heard(200, {"x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "30s"})
    assert allowance.left_s == 0
    allowance.heard(200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1ms"})
    time.sleep(0.002)
    assert allowance.left_s == 0


@pytest.mark.parametrize("name", ["openai", "claude"])
async def test_it_is_kept_per_connection(
    name: str,
    servers: Callable[[ModelServer], ModelServer],
    connections: Callable[[Connection], Connection],
) -> None:
    kind: Kind = KINDS[name]
    server = servers(kind.server())
    pattern, reset = (OPENAI, "6m0s") if name == "openai" else (CLAUDE, in_s(360).isoformat())
    full = {pattern.format("tokens", "remaining"): "0", pattern.format("tokens", "reset"): reset}
    one, other = (connections(kind.connect(kind.spec(server.url, key))) for key in ("sk-1", "sk-2"))
    server.script(
        Answer("Last.", headers=full), "Other.", Answer(fault=Refuse(429, headers={"Retry-After": "20"}))
    )
    assert (await ask(one)).text == "Last."
    assert (await ask(other)).text == "Other."
    assert one.limited_s == pytest.approx(360, abs=2)
    assert other.limited_s == 0
    assert (await ask(other)).error is not None
    assert other.limited_s == pytest.approx(20, abs=2)
    await one.probe()
    assert one.limited_s > 300, "what is asked beside prompts has limits of its own"


ASKED = {
    "milliseconds, as OpenAI writes them": {"retry-after-ms": "2500", "Retry-After": "3"},
    "milliseconds, as Azure writes them": {"x-ms-retry-after-ms": "2500"},
    "a fraction": {"Retry-After": "2.5"},
    "a duration": {"Retry-After": "2.5s"},
    "a duration in words": {"Retry-After": "2.5 seconds"},
    "in quotation marks": {"Retry-After": '"2.5"'},
    "two, joined by a proxy": {"Retry-After": "1, 2.5"},
    "the limit that is spent": {
        "x-ratelimit-remaining-requests": "7",
        "x-ratelimit-reset-requests": "1h",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "2.5s",
    },
    "a reset of no named limit": {"x-ratelimit-reset": "2.5"},
    "the same, after": {"x-ratelimit-reset-after": "2.5"},
    "another one that is not spent": {
        "x-ratelimit-remaining": "9",
        "x-ratelimit-reset": "60",
        "ratelimit-reset": "2.5",
    },
}
DRAFTS = [
    "limit=10, remaining=0, reset=25",
    '"default";r=0;t=25',
    '"burst";r=5;t=1, "daily";r=0;t=25',
    '"burst";r=0;t=2, "daily";r=0;t=25',
    '"daily";r=1;t=25',
]


@pytest.mark.parametrize("headers", ASKED.values(), ids=ASKED)
def test_when_to_come_back_is_read_in_every_form(headers: Mapping[str, str]) -> None:
    assert asked_wait_s(headers, is_limited=True) == 2.5


@pytest.mark.parametrize("field", DRAFTS)
def test_when_to_come_back_is_read_in_the_field_of_the_draft(field: str) -> None:
    assert asked_wait_s({"RateLimit": field}, is_limited=True) == 25.0


def test_a_limit_says_nothing_of_a_failure_that_is_none_of_it() -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "60", "RateLimit": "reset=60"}
    assert asked_wait_s(headers, is_limited=False) is None
    assert asked_wait_s({**headers, "Retry-After": "5"}, is_limited=False) == 5.0


@pytest.mark.parametrize("year", ["9" * 30, "99999", "0"])
def test_a_date_that_is_none_is_passed_over(year: str) -> None:
    headers = {"Retry-After": f"Mon, 01 Jan {year} 00:00:00 GMT", "x-ratelimit-remaining": "0"}
    for value in (*headers.values(), f"{year}-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"):
        RateLimit().heard(429, {**headers, "x-ratelimit-reset": value})
        assert asked_wait_s({"Retry-After": value}, is_limited=True) in {None, 0.0}


def test_an_absurd_wait_is_not_believed() -> None:
    assert asked_wait_s({"Retry-After": "1000000", "retry-after-ms": "1e9"}, is_limited=True) is None


@pytest.mark.parametrize(
    "form", ["%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S -0000"]
)
def test_a_date_without_a_zone_is_in_gmt(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "XYZ-9")
        time.tzset()
        written = in_s(30).strftime(form)
        seconds = asked_wait_s({"Retry-After": written}, is_limited=True)
    time.tzset()
    assert seconds == pytest.approx(30, abs=2)
