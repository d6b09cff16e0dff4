"""Models, prices, policies and rules as tables, and in the older form of texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from oblixd.app import wiring
from oblixd.app.paths import Paths
from oblixd.config.loader import ConfigError, load
from oblixd.errors import OblixdError
from oblixd.models import options
from oblixd.models.base import Location
from oblixd.usage import Price

FULL = """
[[models]]
name = "gpt-4o-mini"
provider = "openai"
endpoint = "https://gateway.example/v1"
key_file = "{key}"
context_window = 100_000
max_running = 4
headers = {{ X-Team = "secret-team" }}
query = {{ api-version = "2024-10-21" }}
extra_body = {{ service_tier = "flex", nested = {{ a = [1, 2] }} }}
omit = ["stream_options"]
connect_timeout_s = 2
first_token_timeout_s = 600
idle_timeout_s = 60.5
price = {{ input = 0.15, output = 0.60 }}
aliases = ["fast", "cheap"]

[[models]]
name = "local"
provider = "custom"
endpoint = "http://127.0.0.1:8080/v1"

[[models]]
name = "qwen3:8b"
provider = "ollama"
num_ctx = 4096
keep_alive = "10m"

[[models]]
name = "coder"
provider = "embedded"
file = "/models/coder.gguf"
"""
OLD = """
[usage]
prices = ["openai:gpt-4o-mini=0.15/0.60", "claude:*=3/15"]
[routing]
policies = ["night = prefer-cloud cpu_threshold=50 max_cost=0.01"]
rules = ["category=medical -> private", "priority=3 -> night"]
[embedded]
models = ["coder=/models/coder.gguf"]
"""
TODAY = """
[[usage.prices]]
model = "openai:gpt-4o-mini"
input = 0.15
output = 0.6
[[usage.prices]]
model = "claude:*"
input = 3
output = 15
[[routing.policies]]
name = "night"
base = "prefer-cloud"
cpu_threshold = 50
max_cost = 0.01
[[routing.rules]]
key = "category"
value = "medical"
policy = "private"
[[routing.rules]]
key = "priority"
value = 3
policy = "night"
[[models]]
name = "coder"
provider = "embedded"
file = "/models/coder.gguf"
"""


@pytest.fixture
def write(tmp_path):
    """Writes a configuration file and loads it."""

    def write_config(text):
        path = tmp_path / "config.toml"
        path.write_text(text, "utf-8")
        return load(path, {})

    return write_config


def specs_of(loaded):
    config = loaded.config
    names = wiring.embedded_settings(config, Paths.find({"OBLIX_HOME": "/nowhere"})).files
    return wiring.models(config, list(names), {})


def test_a_table_says_all_of_a_model(write, tmp_path):
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("sk-of-mine")
    loaded = write(FULL.format(key=key))
    openai, local, ollama, embedded = specs_of(loaded)
    assert (openai.id, openai.endpoint, openai.api_key) == (
        "openai:gpt-4o-mini",
        "https://gateway.example/v1",
        "sk-of-mine",
    )
    given = openai.options
    assert (given.context_window, given.max_running, given.omit) == (100_000, 4, ("stream_options",))
    assert given.extra_body == {"service_tier": "flex", "nested": {"a": [1, 2]}}
    assert (given.first_token_timeout_s, given.idle_timeout_s) == (600.0, 60.5)
    assert given.aliases == ("fast", "cheap")
    assert (local.id, local.location) == ("custom:local", Location.LOCAL)
    assert (ollama.endpoint, ollama.options.num_ctx) == ("http://localhost:11434", 4096)
    assert embedded.id == "embedded:coder"
    assert wiring.prices(loaded.config).of("openai:gpt-4o-mini") == Price(0.15, 0.6)
    assert loaded.notices == ()


def test_possible_secrets_are_hidden_wherever_options_are_shown(write, tmp_path):
    table = '[[models]]\nname="m"\nprovider="openai"\nheaders={a="canary"}\nquery={sig="canary2"}\n'
    (spec, *_) = specs_of(write(table + 'proxy="http://me:canary3@proxy:1"'))
    text = f"{options.display_options(spec.options)} {spec!r}"
    assert "canary" not in text
    assert options.secrets_of(spec.options) == ("canary", "canary2", "canary3")


def test_the_older_texts_mean_what_the_tables_mean_and_are_reported_as_old(write):
    old, today = write(OLD), write(TODAY)
    for model in ("openai:gpt-4o-mini", "claude:opus", "ollama:x"):
        assert wiring.prices(old.config).of(model) == wiring.prices(today.config).of(model)
    assert [policy(loaded) for loaded in (old, today)] == [policy(today)] * 2
    assert specs_of(old) == specs_of(today)
    assert today.notices == ()
    assert len(old.notices) == 6
    assert (
        "config.toml, line 3: usage.prices: 'openai:gpt-4o-mini=0.15/0.60' is in an old form"
        in old.notices[0]
    )
    assert '[[routing.rules]], key = "priority", value = 3.0, policy = "night"' in "".join(
        old.notices
    ) or 'value = 3, policy = "night"' in "".join(old.notices)


def policy(loaded):
    policies = wiring.policies(loaded.config)
    return policies.names, policies._by_name["night"], policies._rules


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        (
            'name="m"\nprovider="ollama"\nnum_ctx=0',
            "models[0].num_ctx",
            "from 1 to 2,147,483,647; 0 was given",
        ),
        ('name="m"\nprovider="ollama"\nnum_ctz=1', "models[0].num_ctz", "Did you mean num_ctx?"),
        (
            'name="m"\nprovider="gemini"',
            "models[0].provider",
            "one of embedded, ollama, openai, claude, custom",
        ),
        ('provider="ollama"', "models[0].name", "is missing"),
        ('name="m"\nprovider="ollama"\nheaders={"a b"="c"}', "models[0].headers", "a header's name"),
        (
            'name="m"\nprovider="ollama"\naliases=["a:b"]',
            "models[0].aliases[0]",
            "without a space or a colon",
        ),
    ],
)
def test_a_wrong_table_names_the_setting(write, text, field, words):
    with pytest.raises(ConfigError) as caught:
        write("[[models]]\n" + text)
    assert caught.value.metadata["field"] == field
    assert words in caught.value.message
    assert ", line " in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'name="m"\nprovider="custom"\nendpoint="https://far.example/v1"',
            'location="local" or location="cloud"',
        ),
        ('name="m"\nprovider="custom"\nlocation="cloud"', "needs the URL of its server"),
        ('name="m"\nprovider="ollama"\n[[models]]\nname="m"\nprovider="ollama"', "names ollama:m twice"),
        ('name="m"\nprovider="embedded"', "has no file"),
        ('name="m"\nprovider="openai"\nkey_credential="k"', "LoadCredential=k:FILE"),
    ],
)
def test_a_model_that_can_not_be_is_refused_when_the_daemon_starts(write, text, words):
    loaded = write("[[models]]\n" + text)
    with pytest.raises(OblixdError) as caught:
        specs_of(loaded)
    assert words in caught.value.message


def test_a_key_goes_only_to_the_endpoint_that_it_was_given_for(write, tmp_path):
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("sk-of-mine")
    section = f'[openai]\nkey_file = "{key}"\n'
    text = '[[models]]\nname="m"\nprovider="openai"\n[[models]]\nname="n"\nprovider="openai"\nendpoint="https://x.example"\n'
    own, other, *_ = specs_of(write(text + section))
    assert (own.api_key, other.api_key) == ("sk-of-mine", "")


def test_yesterdays_files_load():
    for file in sorted(Path(__file__).with_name("yesterday").glob("*.toml")):
        loaded = load(file, {})
        wiring.policies(loaded.config)
        wiring.prices(loaded.config)
        specs_of(loaded)
