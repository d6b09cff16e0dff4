"""Settings: file, environment, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from oblixd.config import reference
from oblixd.config.loader import ConfigError, Source, line_of, load
from oblixd.config.schema import Config
from oblixd.config.settings import settings
from oblixd.fields import convert

ROOT = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path):
    """Writes a configuration file and returns its path."""
    path = tmp_path / "config.toml"

    def write_config(text):
        path.write_text(text, "utf-8")
        return path

    return write_config


def refusal(path, environ=None):
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    assert "\n" not in caught.value.message
    return caught.value


def test_without_a_file_all_is_default(tmp_path):
    assert load(tmp_path / "none.toml", {}).config == Config()


def test_the_file_replaces_only_what_it_names(write):
    config = load(write('[daemon]\ngrace_s = 3\n[ollama]\nmodels = ["llama2", "qwen3:8b"]\n'), {}).config
    assert (config.daemon.grace_s, config.daemon.log_level) == (3.0, "info")
    assert isinstance(config.daemon.grace_s, float)
    assert config.ollama.models == ("llama2", "qwen3:8b")


def test_the_environment_wins_over_the_file(write):
    environ = {
        "OBLIX_DAEMON_GRACE_S": "0.5",
        "OBLIX_EMBEDDED_ENABLED": "false",
        "OBLIX_OLLAMA_MODELS": "a, b,",
    }
    loaded = load(write("[daemon]\ngrace_s = 3\n[store]\nmap_size_gib = 8\n"), environ)
    config = loaded.config
    assert (config.daemon.grace_s, config.embedded.enabled, config.ollama.models) == (0.5, False, ("a", "b"))
    assert loaded.sources == {
        "daemon.grace_s": Source.ENVIRONMENT,
        "store.map_size_gib": Source.FILE,
        "embedded.enabled": Source.ENVIRONMENT,
        "ollama.models": Source.ENVIRONMENT,
    }


def test_variables_of_others_are_left_alone(tmp_path):
    environ = {"OBLIX_HOME": "/somewhere", "OBLIX_API_KEY": "unused", "DAEMON_GRACE_S": "soon"}
    assert load(tmp_path / "none.toml", environ).config == Config()


@pytest.mark.parametrize(
    ("text", "named", "known"),
    [
        ("[daemon]\ngrace = 3", "daemon.grace is not a setting. Did you mean grace_s?", "idle_exit_s"),
        ("[demon]\ngrace_s = 3", "[demon] is not a setting. Did you mean daemon?", "store"),
        ("grace_s = 3", "[grace_s] is not a setting", "daemon"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones(write, text, named, known):
    path = write(text)
    error = refusal(path)
    assert error.reason == "CONFIG_UNKNOWN"
    assert str(path) in error.message
    assert named in error.message
    assert known in error.message


def test_an_unknown_variable_is_named(tmp_path):
    error = refusal(tmp_path / "none.toml", {"OBLIX_DAEMON_GRACE": "3"})
    assert "OBLIX_DAEMON_GRACE is not a setting. Did you mean OBLIX_DAEMON_GRACE_S?" in error.message


@pytest.mark.parametrize(
    ("text", "key", "expected", "given"),
    [
        ("[daemon]\ngrace_s = 'soon'", "daemon.grace_s", "a number from 0 to 3,600", "'soon'"),
        ("[daemon]\ngrace_s = true", "daemon.grace_s", "a number from 0 to 3,600", "True"),
        ("[daemon]\ngrace_s = 1" + "0" * 400, "daemon.grace_s", "a number from 0 to 3,600", "1000"),
        ("[daemon]\ngrace_s = -1", "daemon.grace_s", "a number from 0 to 3,600", "-1"),
        ("[daemon]\ngrace_s = nan", "daemon.grace_s", "a number from 0 to 3,600", "nan"),
        ("[daemon]\ngrace_s = inf", "daemon.grace_s", "a number from 0 to 3,600", "inf"),
        ("[daemon]\nlog_level = 'loud'", "daemon.log_level", "debug, info, warning or error", "'loud'"),
        ("[store]\nmap_size_gib = 0", "store.map_size_gib", "a whole number from 1", "0"),
        ("[store]\nmap_size_gib = 1.5", "store.map_size_gib", "a whole number from 1", "1.5"),
        ("[embedded]\nenabled = 1", "embedded.enabled", "true or false", "1"),
        ("[embedded]\nmodels = ['model.gguf']", "embedded.models[0]", "NAME=/absolute", "'model.gguf'"),
        ("[ollama]\nendpoint = 'localhost:11434'", "ollama.endpoint", "http or https", "'localhost:11434'"),
        ("[ollama]\nendpoint = 'http://me:pw@host'", "ollama.endpoint", "without user", "me"),
        ("[ollama]\nmodels = 'llama2'", "ollama.models", "a list of texts", "'llama2'"),
        ("[ollama]\nmodels = ['llama2', '']", "ollama.models[1]", "1 to 256 characters", "''"),
        ("[monitor]\ninterval_s = 0", "monitor.interval_s", "from 0.1 to 3,600", "0"),
    ],
)
def test_a_wrong_value_says_what_is_expected_and_what_was_given(write, text, key, expected, given):
    path = write(text)
    error = refusal(path)
    assert (error.reason, error.metadata["field"]) == ("CONFIG_INVALID", key)
    assert f"{path}, line 2: {key} must be" in error.message
    assert expected in error.message
    assert given in error.message


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OBLIX_DAEMON_GRACE_S", "soon"),
        ("OBLIX_DAEMON_GRACE_S", ""),
        ("OBLIX_STORE_MAP_SIZE_GIB", "1.5"),
        ("OBLIX_EMBEDDED_ENABLED", "perhaps"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path, variable, text):
    error = refusal(tmp_path / "none.toml", {variable: text})
    assert error.message.startswith(f"{variable} must be ")
    assert repr(text) in error.message


@pytest.mark.parametrize("content", [b"[daemon\n", b"\xff\xfe", b"[daemon]\ngrace_s = 1\ngrace_s = 2\n"])
def test_a_file_that_is_no_toml_is_named(tmp_path, content):
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    error = refusal(path)
    assert (error.reason, error.metadata["file"]) == ("CONFIG_UNREADABLE", str(path))


def test_a_directory_in_the_file_s_place_is_named(tmp_path):
    assert str(tmp_path) in refusal(tmp_path).message


def test_every_default_is_a_value_that_is_accepted():
    for setting in settings():
        given = list(setting.default) if isinstance(setting.default, tuple) else setting.default
        assert convert(given, setting.kind) == setting.default


def test_every_setting_is_documented_and_the_page_is_current():
    assert (ROOT / "docs" / "reference" / "configuration.md").read_text("utf-8") == reference.page()


def test_the_configuration_can_not_be_changed():
    with pytest.raises(AttributeError):
        Config().daemon.grace_s = 1.0


def test_a_section_that_is_no_table_is_named(write):
    error = refusal(write("daemon = 3"))
    assert (error.reason, error.metadata["field"]) == ("CONFIG_INVALID", "daemon")
    assert "line 1: [daemon] must be a table" in error.message


def test_a_byte_order_mark_at_the_start_is_left_out(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[daemon]\r\ngrace_s = 3\r\n")
    assert load(path, {}).config.daemon.grace_s == 3.0


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("daemon.grace_s", 2),
        ("daemon", 1),
        ("models[0].name", 4),
        ("models[1].name", 7),
        ("models[1].price.input", 8),
        ("models[1].missing", 6),
        ("usage.prices[1].input", 14),
        ("store.map_size_gib", None),
    ],
)
def test_the_line_of_a_setting_is_found(key, line):
    text = "\n".join(
        [
            "[daemon]",
            "grace_s = 1",
            "[[models]] # one",
            'name = "a"',
            "",
            "[[models]]",
            'name = "b"',
            "price = { input = 1, output = 2 }",
            "[[usage.prices]]",
            'model = "a:b"',
            "input = 1",
            "[[usage.prices]]",
            'model = "a:c"',
            "input = -1",
        ]
    )
    assert line_of(text, key) == line
