"""What of a URL is the server, a call's path, and its parameters; and which servers are refused."""

from __future__ import annotations

import pytest

from oblixd.errors import InvalidArgumentError
from oblixd.models.base import Location
from oblixd.models.endpoints import endpoint_of, is_loopback
from oblixd.models.hook_spec import spec_of
from oblixd.models.http import loops


@pytest.mark.parametrize(
    ("provider", "given", "url", "query"),
    [
        ("openai", "", "https://api.openai.com/v1", {}),
        ("openai", "https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1", {}),
        ("openai", "https://api.openai.com/v1/responses", "https://api.openai.com/v1", {}),
        ("custom", "http://127.0.0.1:8080/v1/models", "http://127.0.0.1:8080/v1", {}),
        ("custom", "http://127.0.0.1:8080/chat/completions/", "http://127.0.0.1:8080", {}),
        (
            "custom",
            "https://host/path/v1/?api-version=1&x=",
            "https://host/path/v1",
            {"api-version": "1", "x": ""},
        ),
        ("custom", "https://x.services.ai.azure.com/models", "https://x.services.ai.azure.com/models", {}),
        ("claude", "https://api.anthropic.com/v1/messages", "https://api.anthropic.com", {}),
        ("claude", "https://gateway/anthropic/v1", "https://gateway/anthropic", {}),
        ("ollama", "http://box:11434/api/chat", "http://box:11434", {}),
        ("ollama", "http://box:11434/v1", "http://box:11434", {}),
        ("ollama", "http://box/ollama/api/generate", "http://box/ollama", {}),
    ],
)
def test_an_endpoint_is_read_as_people_paste_it(provider, given, url, query) -> None:
    found = endpoint_of(provider, given, "m")
    assert (found.url, dict(found.query)) == (url, query)


@pytest.mark.parametrize("name", ["key", "api_key", "sig", "Subscription-Key", "access_token"])
def test_a_key_among_the_parameters_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        endpoint_of("custom", f"https://host/v1?{name}=canary", "m")
    assert "canary" not in f"{caught.value.message}{caught.value.metadata}"


@pytest.mark.parametrize(
    ("endpoint", "here"),
    [
        ("http://0.0.0.0:1", True),
        ("http://[::]:1", True),
        ("http://[::ffff:127.0.0.1]:1", True),
        ("http://[::ffff:10.0.0.1]:1", False),
        ("http://app.localhost", True),
        ("http://localhost.example", False),
    ],
)
def test_this_machine_has_many_names(endpoint: str, here: bool) -> None:
    assert is_loopback(endpoint) is here


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]"])
def test_a_listener_of_this_daemon_is_no_endpoint(host: str) -> None:
    loops.listening("127.0.0.1", 62549)
    try:
        with pytest.raises(InvalidArgumentError, match="is this daemon itself"):
            spec_of("custom", "m", endpoint=f"http://{host}:62549/v1", location=Location.LOCAL)
        spec_of("custom", "m", endpoint=f"http://{host}:62550/v1", location=Location.LOCAL)
    finally:
        loops.closed("127.0.0.1", 62549)
    assert loops.came_from_here({loops.HEADER: f"other, {loops.MARKER}"})
    assert not loops.came_from_here({loops.HEADER: "other"})


def test_a_local_model_has_no_proxy() -> None:
    options = {"proxy": "http://proxy:3128"}
    with pytest.raises(InvalidArgumentError, match="never reached through a proxy") as caught:
        spec_of("custom", "m", endpoint="http://box/v1", location=Location.LOCAL, options=options)
    assert caught.value.metadata["field"] == "options.proxy"
