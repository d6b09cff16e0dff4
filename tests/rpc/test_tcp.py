"""Calls over TCP: who is let in, and what the others are told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from oblix import (
    FailedPreconditionError,
    InvalidArgumentError,
    OblixClient,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from oblix._launcher import tcp
from oblix.v1 import daemon_pb2, daemon_pb2_grpc, endpoint_pb2, endpoint_pb2_grpc, sessions_pb2
from support.drivers import daemon
from support.drivers.daemon import RunningDaemon
from support.drivers.grpc_calls import TIMEOUT_S
from support.faults import bad_ports
from support.proxies import certificates
from support.repository import files

from oblixd.rpc.guard import SCOPES

CONFIG = """
[embedded]
enabled = false
[[listen]]
address = "tcp://127.0.0.1:0"
[[listen]]
address = "tcp://127.0.0.1:0"
certificate = "{file}"
client_ca = "{file}.crt"
"""


class Tcp:
    """A daemon that listens on TCP, and its tokens."""

    def __init__(self, running: RunningDaemon) -> None:
        self.daemon = running
        self.tokens = endpoint_pb2_grpc.EndpointServiceStub(running.channel)
        stub = daemon_pb2_grpc.DaemonServiceStub(running.channel)
        addresses = stub.GetInfo(daemon_pb2.GetInfoRequest()).addresses
        self.plain, self.tls = (address.partition("://")[2] for address in addresses)
        self.port = int(self.plain.rpartition(":")[2])

    def token(self, name: str, scope: str = "READ", *, local_only: bool = False) -> str:
        value = endpoint_pb2.TokenScope.Value(f"TOKEN_SCOPE_{scope}")
        request = endpoint_pb2.CreateTokenRequest(name=name, scope=value, replace=True, local_only=local_only)
        return self.tokens.CreateToken(request).text

    def info(self, *metadata: tuple[str, str]) -> daemon_pb2.GetInfoResponse:
        with grpc.insecure_channel(self.plain) as channel:
            stub = daemon_pb2_grpc.DaemonServiceStub(channel)
            return stub.GetInfo(daemon_pb2.GetInfoRequest(), metadata=metadata, timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def tcp_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tcp]:
    home = tmp_path_factory.mktemp("tcp")
    file = certificates.make(home, "DNS:localhost", "IP:127.0.0.1")
    file.chmod(0o600)
    (home / "config.toml").write_text(CONFIG.format(file=file))
    with daemon.run_daemon(home, OBLIX_TOKEN="oblix-of-a-client") as running:
        yield Tcp(running)


def _bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {token}")


def _refusal(call: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    trailers = dict(call.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return call.code(), info.reason


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ([], "TOKEN_MISSING"),
        ([("authorization", "oblix-raw")], "TOKEN_MISSING"),
        ([_bearer("oblix-wrong")], "TOKEN_UNKNOWN"),
        ([_bearer("x" * 7000)], "TOKEN_UNKNOWN"),
    ],
)
def test_nobody_calls_without_a_token(tcp_daemon: Tcp, metadata: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        tcp_daemon.info(*metadata)
    assert _refusal(refused.value) == (grpc.StatusCode.UNAUTHENTICATED, reason)


@pytest.mark.parametrize("method", ["/oblix.v1.DaemonService/Shutdown", "/no.Such/Method"])
def test_the_token_is_checked_before_anything_is_read(tcp_daemon: Tcp, method: str) -> None:
    with grpc.insecure_channel(tcp_daemon.plain) as channel:
        call = channel.unary_unary(method, lambda data: data, lambda data: data)
        with pytest.raises(grpc.RpcError) as refused:
            call(b"\xff\xff no message at all", timeout=TIMEOUT_S)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_health_and_reflection_need_a_token_of_any_scope(tcp_daemon: Tcp) -> None:
    with grpc.insecure_channel(tcp_daemon.plain) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        reply = health.Check(
            health_pb2.HealthCheckRequest(), metadata=[_bearer(tcp_daemon.token("probe"))], timeout=TIMEOUT_S
        )
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("key", ["origin", "referer", "sec-fetch-site"])
def test_a_web_page_is_refused_whatever_it_carries(tcp_daemon: Tcp, key: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        tcp_daemon.info(_bearer(tcp_daemon.token("page", "ADMIN")), (key, "http://evil.example"))
    assert _refusal(refused.value) == (grpc.StatusCode.PERMISSION_DENIED, "ORIGIN_REFUSED")


def test_a_scope_allows_what_it_says(tcp_daemon: Tcp) -> None:
    reader = OblixClient(host="127.0.0.1", port=tcp_daemon.port, oblix_api_key=tcp_daemon.token("reader"))
    assert reader.list_sessions() == []
    with pytest.raises(PermissionDeniedError, match="needs execute") as refused:
        reader._transport.call(
            lambda link: link.sessions.CreateSession, sessions_pb2.CreateSessionRequest(), repeatable=False
        )
    assert refused.value.metadata["needed"] == "execute"
    with pytest.raises(PermissionDeniedError, match="needs admin"):
        reader._transport.call(lambda link: link.daemon.Shutdown, daemon_pb2.ShutdownRequest())


def test_every_method_of_the_contract_has_a_scope_on_purpose() -> None:
    admin = {
        *("Shutdown", "GetConfig", "ReloadConfig", "OpenEndpoint", "CloseEndpoint", "CreateToken"),
        *("ListTokens", "RevokeToken", "PullModel", "PruneSessions", "BackupStore"),
    }
    protos = (files.ROOT / "protos" / "oblix" / "v1").glob("*.proto")
    methods = {
        line.split()[1].partition("(")[0]
        for proto in protos
        for line in proto.read_text().splitlines()
        if line.startswith("  rpc ")
    }
    assert methods - set(SCOPES) <= admin, "name what these need in oblixd/rpc/guard.py, or here"


def test_a_revoked_token_is_refused_by_the_next_call(tcp_daemon: Tcp) -> None:
    token = tcp_daemon.token("gone")
    assert tcp_daemon.info(_bearer(token)).pid
    tcp_daemon.tokens.RevokeToken(endpoint_pb2.RevokeTokenRequest(name="gone"))
    with pytest.raises(grpc.RpcError) as refused:
        tcp_daemon.info(_bearer(token))
    assert _refusal(refused.value)[1] == "TOKEN_UNKNOWN"


async def test_a_client_of_this_user_needs_no_token_of_its_own(
    tcp_daemon: Tcp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBLIX_HOME", str(tcp_daemon.daemon.home))
    monkeypatch.setenv("OBLIX_ADDRESS", f"tcp://{tcp_daemon.plain}")
    async with OblixClient() as client:
        session = await client.create_session(title="over TCP")
        assert client.load_session(session)["title"] == "over TCP"
        assert client.delete_session(session)


def test_no_text_of_a_token_is_kept_but_that_of_the_local_one(tcp_daemon: Tcp) -> None:
    token = tcp_daemon.token("secret", "ADMIN")
    found = {
        path.name: path.stat().st_mode & 0o777
        for path in tcp_daemon.daemon.home.rglob("*")
        if path.is_file() and token.encode() in path.read_bytes()
    }
    assert found == {}
    modes = {
        name: (tcp_daemon.daemon.home / name).stat().st_mode & 0o777 for name in ("tokens.json", "token")
    }
    assert modes == {"tokens.json": 0o600, "token": 0o600}


def test_the_daemon_has_no_token_in_its_environment(tcp_daemon: Tcp) -> None:
    """Its own `/proc` shows what it was started with; a child's would show what it passes on."""
    program = (
        "import os; from oblixd.models.embedded import process; print('OBLIX_TOKEN' in process._ENVIRONMENT)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_tls_with_a_certificate_and_a_token(tcp_daemon: Tcp, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = tcp_daemon.daemon.home.glob("*.pem")
    monkeypatch.setenv("OBLIX_ADDRESS", f"tls://localhost:{tcp_daemon.tls.rpartition(':')[2]}")
    monkeypatch.setenv("OBLIX_CA_FILE", f"{file}.crt")
    monkeypatch.setenv("OBLIX_TOKEN", tcp_daemon.token("far"))
    with pytest.raises(UnavailableError):
        OblixClient().list_sessions()
    monkeypatch.setenv("OBLIX_CLIENT_CERTIFICATE", f"{file}.crt")
    monkeypatch.setenv("OBLIX_CLIENT_KEY", str(file))
    assert OblixClient().list_sessions() == []
    monkeypatch.setenv("OBLIX_TOKEN", "oblix-nobody-made-this")
    with pytest.raises(UnauthenticatedError) as refused:
        OblixClient().list_sessions()
    assert refused.value.reason == "TOKEN_UNKNOWN"


def test_a_token_goes_to_no_program_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]
        client = OblixClient(host="127.0.0.1", port=port, oblix_api_key="oblix-mine")
        monkeypatch.setattr(os, "getuid", lambda: 4711)
        with pytest.raises(FailedPreconditionError, match="belongs to user") as refused:
            client.list_sessions()
        assert refused.value.reason == "LISTENER_NOT_YOURS"
        theirs.settimeout(0.2)
        with pytest.raises(TimeoutError):
            theirs.accept()


def test_where_nobody_listens_the_error_says_how_to_listen() -> None:
    with bad_ports.unheard() as port, pytest.raises(UnavailableError, match=r"\[\[listen\]\]"):
        OblixClient(host="127.0.0.1", port=port).list_sessions()


@pytest.mark.parametrize("address", ["tcp://far.example:1", "http://localhost:1", "tls://x", "4321"])
def test_an_address_that_can_not_be_is_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBLIX_ADDRESS", address)
    with pytest.raises(InvalidArgumentError, match="OBLIX_ADDRESS takes"):
        OblixClient()


def test_a_token_file_that_others_can_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("oblix-mine")
    file.chmod(0o644)
    monkeypatch.setenv("OBLIX_TOKEN_FILE", str(file))
    with pytest.raises(FailedPreconditionError, match="chmod 600"):
        tcp.TcpDaemon("far.example", 1, has_tls=True).metadata()


def _end_of_start(home: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "oblixd", *words],
        env={**os.environ, "OBLIX_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def test_beyond_this_machine_it_does_not_start_without_tls(home: Path) -> None:
    code, said = _end_of_start(home, "--listen", "tcp://0.0.0.0:0")
    assert (code, "needs TLS" in said) == (78, True)


@pytest.mark.parametrize("kind", ["secp521r1", "ed25519"])
def test_a_key_that_no_client_can_use_is_refused_at_start(home: Path, kind: str) -> None:
    algorithm = ["ed25519"] if kind == "ed25519" else ["ec", "-pkeyopt", f"ec_paramgen_curve:{kind}"]
    words = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=test", "-newkey", *algorithm]
    subprocess.run([*words, "-keyout", home / "key", "-out", home / "crt"], check=True, capture_output=True)
    table = f'[[listen]]\naddress = "tcp://127.0.0.1:0"\ncertificate = "{home}/crt"\nkey = "{home}/key"\n'
    (home / "config.toml").write_text(f"{table}[embedded]\nenabled = false\n")
    (home / "key").chmod(0o600)
    code, said = _end_of_start(home)
    assert code == 1
    assert ("P-521" if kind == "secp521r1" else "Ed25519") in said


def test_a_taken_port_is_told_and_the_socket_serves(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]
        (home / "config.toml").write_text(
            f'[[listen]]\naddress = "tcp://127.0.0.1:{port}"\n[embedded]\nenabled = false\n'
        )
        with daemon.run_daemon(home) as running:
            stub = daemon_pb2_grpc.DaemonServiceStub(running.channel)
            (problem,) = stub.GetInfo(daemon_pb2.GetInfoRequest()).problems
    assert f"127.0.0.1:{port}" in problem
    assert problem in running.errors.read_text()


def test_limits_of_a_client_count_and_change_live(home: Path) -> None:
    (home / "config.toml").write_text("[limits]\ncalls_per_second = 3\n[embedded]\nenabled = false\n")
    with daemon.run_daemon(home) as running:
        stub = daemon_pb2_grpc.DaemonServiceStub(running.channel)

        def refusals(client: str) -> set[str]:
            found = set()
            until = time.monotonic() + 10
            while not found and time.monotonic() < until:
                try:
                    stub.GetInfo(daemon_pb2.GetInfoRequest(), metadata=[("oblix-client", client)])
                except grpc.RpcError as error:
                    found.add(_refusal(error)[1])
            return found

        assert refusals("busy") == {"TOO_MANY_CALLS"}
        stub.GetInfo(daemon_pb2.GetInfoRequest(), metadata=[("oblix-client", "calm")])
        (home / "config.toml").write_text("[embedded]\nenabled = false\n")
        applied = stub.ReloadConfig(
            daemon_pb2.ReloadConfigRequest(), metadata=[("oblix-client", "admin")]
        ).applied
        assert list(applied) == ["limits.calls_per_second"]
        for _ in range(20):
            stub.GetInfo(daemon_pb2.GetInfoRequest(), metadata=[("oblix-client", "busy")])
