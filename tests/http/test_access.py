"""Who reaches what: sessions that a token is given, limits, and an endpoint with TLS."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
import trustme
from google.protobuf.field_mask_pb2 import FieldMask
from oblix.testing import Answer, Stall
from oblix.v1 import sessions_pb2, sessions_pb2_grpc
from support.endpoint import MODEL, Served

Serving = Callable[[str], AbstractContextManager[Served]]
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}


def give(shared_endpoint: Served, session: sessions_pb2.Session, *tokens: str) -> None:
    """As `oblix connect TOOL --session ID` does."""
    session.metadata.update({"http": {"tokens": list(tokens)}})
    mask = FieldMask(paths=["metadata.http"])
    stub = sessions_pb2_grpc.SessionServiceStub(shared_endpoint.daemon.channel)
    stub.UpdateSession(sessions_pb2.UpdateSessionRequest(session=session, update_mask=mask))


@pytest.mark.parametrize("record", ["off", "auto"])
def test_a_token_goes_on_with_a_session_that_it_was_given(serving_with: Serving, record: str) -> None:
    with serving_with(f'record = "{record}"\n') as served:
        stub = sessions_pb2_grpc.SessionServiceStub(served.daemon.channel)
        made = stub.CreateSession(sessions_pb2.CreateSessionRequest()).session
        mine, other = (served.http(served.new_token(name)) for name in ("mine", "other"))
        headers = {"x-oblix-session": made.id}
        assert mine.post("/v1/chat/completions", json=ASK, headers=headers).status_code == 404
        give(served, made, "mine")
        for _ in range(2):
            answer = mine.post("/v1/chat/completions", json=ASK, headers=headers)
            assert (answer.status_code, answer.headers["x-oblix-session"]) == (200, made.id)
        assert other.post("/v1/chat/completions", json=ASK, headers=headers).status_code == 404
        found = stub.GetSession(sessions_pb2.GetSessionRequest(session_id=made.id)).session
        assert list(found.metadata["http"]["tokens"]) == ["mine"]


def test_the_limits_of_clients_hold_for_tokens(serving_with: Serving) -> None:
    with serving_with("[limits]\nexecutions = 1\n") as served:
        served.server.script(Answer("One two three.", fault=Stall(1)))
        http = served.http()
        with http.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}) as running:
            lines = running.iter_lines()
            assert next(lines)
            refused = http.post("/v1/chat/completions", json=ASK)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_executions")
            token = served.new_token("other")
            assert served.http(token).post("/v1/chat/completions", json=ASK).status_code == 200


def test_calls_a_second_are_limited_and_told_when_to_come_again(serving_with: Serving) -> None:
    # Three, as opening the endpoint and making the token are two calls.
    with serving_with("[limits]\ncalls_per_second = 3\n") as served:
        http = served.http()
        with ThreadPoolExecutor(50) as together:
            answers = list(together.map(lambda _: http.get("/v1/models"), range(50)))
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["x-oblix-reason"] == "TOO_MANY_CALLS"
        assert refused.headers["retry-after"] == "1"


def test_with_a_certificate_it_speaks_https_alone(serving_with: Serving, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = _write_certificate(authority, tmp_path)
    with serving_with(f'certificate = "{certificate}"\nkey = "{key}"\n') as served:
        assert served.url.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context()
        authority.configure_trust(trusted)
        with httpx.Client(base_url=served.url, verify=trusted, timeout=60) as client:
            headers = {"Authorization": f"Bearer {served.token}"}
            assert client.post("/v1/chat/completions", json=ASK, headers=headers).status_code == 200
            assert client.post("/v1/chat/completions", json=ASK).status_code == 401
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://{served.url.removeprefix('https://')}/health", timeout=60)
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{served.url}/health", timeout=60)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('host = "0.0.0.0"\n', "needs TLS"),
        (
            'host = "0.0.0.0"\ncertificate = "{}"\nkey = "{}"\nollama_without_token = true\n',
            "without a token",
        ),
    ],
)
def test_an_address_that_others_reach_needs_tls_and_tokens(tmp_path: Path, more: str, words: str) -> None:
    certificate, key = _write_certificate(trustme.CA(), tmp_path)
    (tmp_path / "config.toml").write_text("[http]\nenabled = true\n" + more.format(certificate, key))
    done = subprocess.run(
        [sys.executable, "-m", "oblixd"],
        env={**os.environ, "OBLIX_HOME": str(tmp_path), "OBLIX_EMBEDDED_ENABLED": "false"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert words in done.stderr


def _write_certificate(authority: trustme.CA, folder: Path) -> tuple[Path, Path]:
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = folder / "server.pem", folder / "server.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    key.touch(0o600)
    issued.private_key_pem.write_to_path(key)
    return certificate, key
