"""The page about errors: complete, and true of what gRPC itself refuses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache

import grpc
import pytest
from oblix import Reason
from support.drivers.daemon import RunningDaemon, run_daemon
from support.repository import files

REASON = re.compile(r"[A-Z]+(_[A-Z]+)+")
ENVIRONMENT = re.compile(
    r"(XDG|WATCHDOG|JOURNAL|CODE|SYSLOG|OPENAI|ANTHROPIC|OLLAMA|SSL|REQUESTS|CURL|CUDA|LC|LD|NOTIFY|SC|CREDENTIALS|CLOCK|OTEL)_\w+|OBLIX_\w+|NO_COLOR|(PROMPT_TOOLKIT|COMP|WAYLAND|XTERM)_\w+|ENABLE_OLLAMA_API|OPENCODE_CONFIG_CONTENT|TABLE_NAMES|(HTTPS?|ALL|NO)_PROXY|[A-Z_]+_API_KEY|HF_(HOME|HUB_CACHE)|LLAMA_CACHE"
    r"|(CODEX|VIBE|HERMES|GEMINI_CLI)_HOME|CLAUDE_CONFIG_DIR|PI_CODING_AGENT_DIR|(CLINE|CONTINUE_GLOBAL)_DIR|LLM_USER_PATH"
)
SOURCES = files.sources("oblixd", "client/oblix")


@cache
def _in_source() -> set[str]:
    """Every text in the source that looks like a reason or a rule."""
    texts = {
        node.value
        for path in SOURCES
        if path.name not in ("__init__.py", "reasons.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return _reasons(texts)


def _reasons(texts: Iterable[str]) -> set[str]:
    return {text for text in texts if REASON.fullmatch(text) and not ENVIRONMENT.fullmatch(text)}


def _on_page() -> set[str]:
    """Every reason in a table of the page."""
    lines = (files.ROOT / "docs" / "reference" / "errors.md").read_text().splitlines()
    return _reasons(word for line in lines if line.startswith("|") for word in re.findall(r"`(\w+)`", line))


def test_every_reason_is_on_the_page() -> None:
    assert "SESSION_NOT_FOUND" in _in_source()
    assert _in_source() - _on_page() == set()


def test_the_page_names_nothing_that_is_gone() -> None:
    assert _on_page() - _in_source() == set()


def test_the_enum_of_the_python_client_has_every_reason_of_errors() -> None:
    text = (files.ROOT / "docs" / "reference" / "errors.md").read_text()
    rows = [line for line in text.split("## What gRPC itself refuses")[0].splitlines() if line[:1] == "|"]
    reasons = _reasons(word for row in rows for word in re.findall(r"`(\w+)`", row)) | {"INTERNAL"}
    assert set(Reason) == reasons, "client/oblix/reasons.py lists what docs/reference/errors.md does"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with run_daemon(tmp_path_factory.mktemp("errors"), OBLIX_EMBEDDED_ENABLED="false") as daemon:
        yield daemon


def _refusal_status(daemon: RunningDaemon, method: str, data: bytes = b"", **options) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as failed:
        daemon.channel.unary_unary(method)(data, timeout=60, **options)
    return failed.value.code()


def test_grpc_refuses_what_the_page_says(daemon: RunningDaemon) -> None:
    get = "/oblix.v1.SessionService/GetSession"
    large = (("x-large", "x" * 20_000),)
    assert _refusal_status(daemon, get, b"x" * (16 << 20) + b"x") is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert _refusal_status(daemon, get, metadata=large) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert _refusal_status(daemon, "/oblix.v1.SessionService/Nothing") is grpc.StatusCode.UNIMPLEMENTED
