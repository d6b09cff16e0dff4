"""The keys of configured cloud models."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from oblix import OblixClient
from oblix.testing import ClaudeServer, OpenAIServer
from support.drivers.daemon import run_daemon

from oblixd.app import api_keys
from oblixd.errors import FailedPreconditionError


@pytest.fixture
def openai() -> Iterator[OpenAIServer]:
    with OpenAIServer(["gpt-4o-mini"], api_key="key-of-openai") as server:
        yield server


@pytest.fixture
def claude() -> Iterator[ClaudeServer]:
    with ClaudeServer(["claude-3-haiku-20240307"], api_key="key-of-claude") as server:
        yield server


def write_key(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


async def test_configured_models_have_the_keys_of_a_file_and_of_a_credential(
    home: Path, tmp_path: Path, openai: OpenAIServer, claude: ClaudeServer
) -> None:
    (tmp_path / "credentials").mkdir()
    write_key(tmp_path / "credentials" / "openai-api-key", "key-of-openai\n", 0o440)
    key_file = write_key(tmp_path / "claude.key", "key-of-claude")
    (home / "config.toml").write_text(f"""
        [embedded]
        enabled = false
        [openai]
        endpoint = "{openai.url}"
        models = ["gpt-4o-mini"]
        [claude]
        endpoint = "{claude.url}"
        models = ["claude-3-haiku-20240307"]
        key_file = "{key_file}"
        """)
    with run_daemon(home, CREDENTIALS_DIRECTORY=str(tmp_path / "credentials")):
        client = OblixClient()
        models = client.list_models()
        assert models == {"openai": ["gpt-4o-mini"], "claude": ["claude-3-haiku-20240307"]}
        for model in ("openai:gpt-4o-mini", "claude:claude-3-haiku-20240307"):
            answer = await client.execute("Hello", model=model, stream=False)
            assert answer["response"] == "You said: Hello"
        configuration = client.get_model("openai", "gpt-4o-mini")
        assert configuration is not None
        assert configuration["has_api_key"] is True


def test_a_key_file_goes_before_a_credential_and_none_is_no_key(tmp_path: Path) -> None:
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    write_key(tmp_path / "openai-api-key", "of the credential")
    with pytest.raises(FailedPreconditionError, match="one key"):
        api_keys.configured_key("openai", "", given)
    write_key(tmp_path / "openai-api-key", "credential")
    file = write_key(tmp_path / "file", " file \n")
    assert api_keys.configured_key("openai", str(file), given) == "file"
    assert api_keys.configured_key("openai", "", given) == "credential"
    assert api_keys.configured_key("claude", "", given) == api_keys.configured_key("openai", "", {}) == ""


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        ("sk-1234", 0o640, "KEY_FILE_UNSAFE"),
        ("sk-1234", 0o604, "KEY_FILE_UNSAFE"),
        ("", 0o600, "KEY_FILE_UNUSABLE"),
        ("clé", 0o600, "KEY_FILE_UNUSABLE"),
        ("k" * 8193, 0o600, "KEY_FILE_UNUSABLE"),
    ],
)
def test_an_unfit_file_is_named_and_its_content_is_not(
    tmp_path: Path, content: str, mode: int, reason: str
) -> None:
    path = write_key(tmp_path / "file", content, mode)
    with pytest.raises(FailedPreconditionError) as caught:
        api_keys.configured_key("openai", str(path), {})
    assert caught.value.reason == reason
    assert str(path) in caught.value.message
    assert not content or content not in caught.value.message


def test_a_daemon_whose_key_others_can_read_does_not_start(home: Path, tmp_path: Path) -> None:
    path = write_key(tmp_path / "file", "key", 0o644)
    (home / "config.toml").write_text(f'[openai]\nmodels = ["gpt-4o-mini"]\nkey_file = "{path}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "oblixd"], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert f"chmod 600 {path}" in done.stderr
    assert "Traceback" not in done.stderr
