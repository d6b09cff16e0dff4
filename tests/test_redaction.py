"""What no error, no line of the log and no terminal gets to see: keys, pieces of keys, escape sequences."""

from __future__ import annotations

import base64
import json
import random
import resource
import string
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oblix import OblixClient, OblixError
from oblix.testing import Answer, OpenAIServer, Report
from oblix.v1 import models_pb2
from support.drivers.daemon import run_daemon
from support.drivers.grpc_calls import Wire

from oblixd.errors import InternalError
from oblixd.models import ModelError, ModelErrorKind
from oblixd.redaction import HIDDEN, SHORTEST_PIECE, Secrets, clean, printable

KEY = 'sk-canary/9+"aQ7Zt3Lw8Xc5Vb2Nm6Kj4Hg1Fd0Sa9Po8Iu7Yt'
PLAIN = "]0;owned[31mred[0m 2J]52;c;aGk=\\ back  end"
ATTACK = "\x1b]0;owned\x07\x1b[31mred\x1b[0m \x9b2J\x1b]52;c;aGk=\x1b\\ \u202eback \x7f\x00 end"


def longest_piece(text: str, secret: str) -> int:
    """Characters of the longest stretch of the secret that a text holds."""
    lengths = (size for size in range(len(secret), 0, -1) for start in range(len(secret) - size + 1)
               if secret[start : start + size] in text)  # fmt: skip
    return next(lengths, 0)


@pytest.mark.parametrize(
    "form",
    [KEY, quote(KEY, safe=""), json.dumps(KEY), base64.b64encode(KEY.encode()).decode(), f"Bearer {KEY}"],
)
def test_a_key_is_hidden_in_every_form(form: str) -> None:
    secrets = Secrets()
    secrets.learn(KEY)
    said = secrets.hide(f"no {form} here")
    assert HIDDEN in said
    assert longest_piece(said, KEY) < SHORTEST_PIECE


@given(st.integers(0, len(KEY)), st.integers(0, len(KEY)), st.text(max_size=30), st.text(max_size=30))
def test_no_more_of_a_piece_is_left_than_says_nothing(start: int, end: int, before: str, after: str) -> None:
    secrets = Secrets()
    secrets.learn(KEY)
    assert longest_piece(secrets.hide(before + KEY[start:end] + after), KEY) < SHORTEST_PIECE


@given(st.text(max_size=200))
def test_text_without_secrets_is_unchanged(text: str) -> None:
    secrets = Secrets()
    secrets.learn("another-secret-key", "short")
    assert secrets.hide(text) == text


def test_many_secrets_are_forgotten_one_by_one() -> None:
    secrets = Secrets()
    made = ["".join(random.choices(string.ascii_letters, k=30)) for _ in range(1200)]
    secrets.learn(*made)
    assert secrets.hide(made[-1]) == HIDDEN
    assert secrets.hide(made[0]) == made[0]


@given(st.text(st.characters(codec="utf-8")))
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    said = printable(text)
    assert not [c for c in said if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) <= 0x9F]
    assert text == said or not text.isprintable()


def test_an_escape_sequence_is_mere_text() -> None:
    assert printable(ATTACK) == PLAIN
    assert printable("Grüße, 世界 👩‍👩‍👧\n\tok") == "Grüße, 世界 👩‍👩‍👧\n\tok"


def test_every_error_is_made_clean() -> None:
    assert clean("\x1b[1mx") == "[1mx"
    for error in (InternalError("INTERNAL", ATTACK, given=ATTACK), ModelError(ModelErrorKind.FAILED, ATTACK)):
        assert error.message == PLAIN
    assert InternalError("INTERNAL", "x", given=ATTACK).metadata["given"] == PLAIN


@pytest.mark.parametrize("offset", [0, 470])
async def test_a_server_that_repeats_a_key_at_any_place(home: Path, offset: int) -> None:
    """In an answer's middle and in a refusal: neither what is told nor what is kept has more than a scrap."""
    key = "sk-canary-" + "aQ7Zt3Lw8Xc5Vb2Nm6Kj4Hg1Fd0Sa9Po8Iu7YtR"
    with OpenAIServer() as server, run_daemon(home, OBLIX_EMBEDDED_ENABLED="false") as daemon:
        words = "x" * offset + f" {key} \x1b]0;owned\x07\x1b[31m"
        server.default = lambda _: Answer("one two", fault=Report(after=1, message=words))
        client = OblixClient()
        session = await client.create_session("Canary")
        await client.hook_model("openai", "gpt-4o-mini", endpoint=server.url, api_key=key)
        with pytest.raises(OblixError) as failed:
            await client.execute("Hi", stream=False, session_id=session)
        listed = Wire(daemon.channel).models.ListModels(models_pb2.ListModelsRequest(all_clients=True))
        told = f"{failed.value.message} {failed.value.metadata} {listed} {client.load_session(session)}"
        assert longest_piece(told, key) < SHORTEST_PIECE
        assert "\x1b" not in failed.value.message
        assert daemon.end() == 0
        assert longest_piece(everything_in(home), key) < SHORTEST_PIECE


def everything_in(home: Path) -> str:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file()).decode("latin-1")


def test_a_crash_leaves_no_core_file(home: Path) -> None:
    with run_daemon(home, OBLIX_EMBEDDED_ENABLED="false") as daemon:
        assert resource.prlimit(daemon.process.pid, resource.RLIMIT_CORE) == (0, 0)
