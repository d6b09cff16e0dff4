"""What a hook may say, and where its model then runs."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblixd.errors import InvalidArgumentError
from oblixd.models.base import Location
from oblixd.models.hook_spec import HookSpec, derived_location, spec_of
from oblixd.models.options import LARGEST_COUNT, ModelOptions

LOCAL, CLOUD = Location.LOCAL, Location.CLOUD


@pytest.mark.parametrize(
    ("provider", "name", "endpoint", "given", "location"),
    [
        ("embedded", "smollm2-135m-instruct", "", None, LOCAL),
        ("ollama", "llama2", "", None, LOCAL),
        ("ollama", "llama2", "http://127.0.0.1:11434", None, LOCAL),
        ("ollama", "llama2", "http://127.8.9.1:1", None, LOCAL),
        ("ollama", "llama2", "http://[::1]:11434", None, LOCAL),
        ("ollama", "llama2", "http://LOCALHOST:11434", None, LOCAL),
        ("ollama", "llama2", "http://192.168.1.7:11434", None, CLOUD),
        ("ollama", "llama2", "http://0.0.0.0:11434", None, LOCAL),
        ("ollama", "llama2", "http://[::]:11434", None, LOCAL),
        ("ollama", "llama2", "http://[::ffff:127.0.0.1]:11434", None, LOCAL),
        ("ollama", "llama2", "http://[::ffff:192.168.1.7]:11434", None, CLOUD),
        ("ollama", "llama2", "http://localhost.evil.example:11434", None, CLOUD),
        ("ollama", "llama2", "http://127.0.0.1.evil.example", None, CLOUD),
        ("ollama", "gpt-oss:120b-cloud", "", None, CLOUD),
        ("ollama", "glm-4.6:cloud", "", None, CLOUD),
        ("ollama", "GPT-OSS:120B-CLOUD", "", None, CLOUD),
        ("ollama", "cloudy", "", None, LOCAL),
        ("ollama", "llama2", "http://192.168.1.7:11434", LOCAL, LOCAL),
        ("openai", "gpt-4o-mini", "", None, CLOUD),
        ("openai", "gpt-4o-mini", "http://127.0.0.1:8000/v1", None, CLOUD),
        ("claude", "claude-3-haiku-20240307", "http://localhost:1", None, CLOUD),
        ("custom", "any", "http://127.0.0.1:8000/v1", CLOUD, CLOUD),
        ("custom", "any", "https://far.example/v1", LOCAL, LOCAL),
    ],
)
def test_where_a_model_runs(
    provider: str, name: str, endpoint: str, given: Location | None, location: Location
) -> None:
    spec = spec_of(provider, name, endpoint=endpoint, location=given)
    assert derived_location(spec) is location


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"provider": ""}, "provider"),
        ({"provider": "gemini"}, "provider"),
        ({"name": ""}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"endpoint": "localhost:11434"}, "endpoint"),
        ({"endpoint": "ftp://localhost"}, "endpoint"),
        ({"endpoint": "file:///etc/passwd"}, "endpoint"),
        ({"endpoint": "http://"}, "endpoint"),
        ({"endpoint": "http://user:secret@host"}, "endpoint"),
        ({"endpoint": "http://user@host"}, "endpoint"),
        ({"endpoint": "http://@host"}, "endpoint"),
        ({"endpoint": "http://host/?key=secret"}, "endpoint"),
        ({"endpoint": "http://host/#part"}, "endpoint"),
        ({"endpoint": "http://host:0"}, "endpoint"),
        ({"endpoint": "http://host:99999"}, "endpoint"),
        ({"endpoint": "http://host:port"}, "endpoint"),
        ({"endpoint": "http://[::1"}, "endpoint"),
        ({"endpoint": "http://ho st"}, "endpoint"),
        ({"endpoint": "http://a..b"}, "endpoint"),
        ({"endpoint": "http://" + "h" * 64}, "endpoint"),
        ({"endpoint": "http://host/\r\nX: y"}, "endpoint"),
        ({"endpoint": "http://host\t"}, "endpoint"),
        ({"endpoint": "http://" + "h" * 2048}, "endpoint"),
        ({"provider": "embedded", "endpoint": "http://localhost"}, "endpoint"),
        ({"provider": "custom", "location": LOCAL}, "endpoint"),
        ({"provider": "custom", "endpoint": "http://host"}, "location"),
        ({"api_key": "x" * 8193}, "api_key"),
        ({"api_key": "line\r\nX-Other: header"}, "api_key"),
        ({"api_key": "schlüssel"}, "api_key"),
        ({"options": {"temperature": 1}}, "options.temperature"),
        ({"options": {"num_ctx": 0}}, "options.num_ctx"),
        ({"options": {"ca_file": "/etc/passwd"}}, "options.ca_file"),
        ({"options": {"headers": {"X": "secret\r\nY: z"}}}, "options.headers"),
        ({"options": {"num_ctx": -5}}, "options.num_ctx"),
        ({"options": {"num_ctx": 1.5}}, "options.num_ctx"),
        ({"options": {"num_ctx": "4096"}}, "options.num_ctx"),
        ({"options": {"num_ctx": True}}, "options.num_ctx"),
        ({"options": {"num_ctx": float("nan")}}, "options.num_ctx"),
        ({"options": {"num_ctx": float("inf")}}, "options.num_ctx"),
        ({"options": {"num_ctx": LARGEST_COUNT + 1}}, "options.num_ctx"),
        ({"options": {"context_window": 0}}, "options.context_window"),
        ({"options": {"keep_alive": 5}}, "options.keep_alive"),
        ({"options": {"keep_alive": ""}}, "options.keep_alive"),
        ({"options": {"keep_alive": "soon"}}, "options.keep_alive"),
        ({"options": {"keep_alive": "5 m"}}, "options.keep_alive"),
        ({"options": {"keep_alive": "1" * 40}}, "options.keep_alive"),
    ],
    ids=repr,
)
def test_a_wrong_hook_names_the_field(given: dict[str, object], field: str) -> None:
    arguments: dict[str, object] = {"provider": "ollama", "name": "llama2", **given}
    with pytest.raises(InvalidArgumentError) as caught:
        spec_of(arguments.pop("provider"), arguments.pop("name"), **arguments)
    assert caught.value.metadata["field"] == field
    assert caught.value.reason == "INVALID_HOOK"
    assert "secret" not in caught.value.message + str(caught.value.metadata)


@given(st.text(max_size=60))
def test_any_text_as_an_endpoint_is_taken_or_refused(endpoint: str) -> None:
    for text in (endpoint, f"http://{endpoint}", f"http://host:{endpoint}"):
        with suppress(InvalidArgumentError):
            taken = spec_of("ollama", "llama2", endpoint=text).endpoint
            assert taken.startswith(("http://", "https://"))
            assert taken.isascii()
            assert taken.isprintable()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", "http://localhost:11434"),
        ("http://localhost:11434", "http://localhost:11434/"),
        ("http://localhost:11434", "HTTP://LocalHost:11434"),
        ("http://host/ollama", "http://host/ollama//"),
    ],
)
def test_the_same_endpoint_in_other_words_is_the_same_hook(one: str, other: str) -> None:
    first, second = (spec_of("ollama", "llama2", endpoint=endpoint) for endpoint in (one, other))
    assert first == second
    assert hash(first) == hash(second)


def test_any_difference_makes_another_hook() -> None:
    base = {"endpoint": "http://host", "api_key": "k", "location": LOCAL, "options": {"num_ctx": 1}}
    others: list[dict[str, object]] = [
        {"endpoint": "http://host/x"},
        {"api_key": "l"},
        {"location": CLOUD},
        {"location": None},
        {"options": {"num_ctx": 2}},
        {"options": {}},
    ]
    specs = [spec_of("ollama", "llama2", **{**base, **other}) for other in [{}, *others]]
    assert len(set(specs)) == len(specs)


def test_options_come_as_a_struct_carries_them() -> None:
    spec = spec_of(
        "ollama", "llama2", options={"num_ctx": 4096.0, "keep_alive": "-1", "context_window": 8192.0}
    )
    assert spec.options == ModelOptions(num_ctx=4096, keep_alive="-1", context_window=8192)
    assert spec.count("num_ctx") == 4096
    assert spec.count("keep_alive") is None


def test_a_key_is_not_shown() -> None:
    assert "canary" not in repr(spec_of("openai", "gpt-4o", api_key="canary"))


def test_a_spec_does_not_change() -> None:
    spec = HookSpec("ollama", "llama2", options=ModelOptions(num_ctx=1))
    with pytest.raises(AttributeError):
        spec.options.num_ctx = 3
