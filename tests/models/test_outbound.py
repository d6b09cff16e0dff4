"""By which proxy and whose certificates a server is reached."""

from __future__ import annotations

import pytest

from oblixd.models.base import Location
from oblixd.models.hook_spec import spec_of
from oblixd.models.http.outbound import (
    NetworkConfig,
    Proxy,
    Trust,
    TrustError,
    clean,
    is_excluded,
    outbound_route_of,
)
from oblixd.models.options import ModelOptions
from oblixd.models.providers.custom import CustomConnection
from oblixd.models.providers.ollama import OllamaConnection
from oblixd.models.providers.openai import OpenAIConnection

PROXY = "http://me:p%40ss@proxy.test:3128"
FAR = "https://models.example.com/v1"


@pytest.mark.parametrize(
    ("host", "entry", "expected"),
    [
        ("models.example.com", "example.com", True),
        ("example.com", ".example.com", True),
        ("models.example.com", "*.example.com", True),
        ("badexample.com", "example.com", False),
        ("MODELS.example.com", "Example.com", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::1", "fd00::/8", True),
        ("anything", "*", True),
    ],
)
def test_hosts_without_the_proxy(host: str, entry: str, expected: bool) -> None:
    assert is_excluded(host, [entry]) is expected


@pytest.mark.parametrize(
    ("endpoint", "options", "is_local", "proxied"),
    [
        (FAR, {}, False, True),
        (FAR, {}, True, False),
        (FAR, {"proxy": "none"}, False, False),
        (FAR, {"proxy": "http://other:1"}, False, True),
        ("http://127.0.0.1:1/v1", {}, False, False),
        ("http://0.0.0.0:1/v1", {}, False, False),
        ("http://[::ffff:127.0.0.1]:1", {}, False, False),
        ("https://intranet.example.org/v1", {}, False, False),
    ],
)
def test_loopback_and_local_models_never_go_through_a_proxy(endpoint, options, is_local, proxied) -> None:
    network = NetworkConfig(PROXY, no_proxy=("example.org",))
    way = outbound_route_of(endpoint, ModelOptions(**options), network, is_local=is_local)
    assert (way.proxy is not None) is proxied


@pytest.mark.parametrize(
    ("connect", "provider", "endpoint", "location", "proxied"),
    [
        (OpenAIConnection, "openai", FAR, None, True),
        (CustomConnection, "custom", FAR, Location.CLOUD, True),
        (CustomConnection, "custom", "http://box.lan:8000/v1", Location.LOCAL, False),
        (OllamaConnection, "ollama", "http://box.lan:11434", Location.LOCAL, False),
        (OllamaConnection, "ollama", "http://box.lan:11434", None, True),
        (OllamaConnection, "ollama", "", None, False),
    ],
)
def test_a_connection_asks_for_its_way_each_time(connect, provider, endpoint, location, proxied) -> None:
    network = NetworkConfig()
    spec = spec_of(provider, "m", endpoint=endpoint, location=location)
    connection = connect(spec, network=lambda: network)
    assert connection.outbound_route().proxy is None
    network = NetworkConfig(PROXY)
    assert (connection.outbound_route().proxy is not None) is proxied


def test_a_proxy_s_password_is_not_shown() -> None:
    proxy = Proxy.of(PROXY)
    assert (proxy.url, proxy.user, proxy.password) == ("http://proxy.test:3128", "me", "p@ss")
    assert "p@ss" not in repr(proxy)


def test_the_environment_decides_nothing_and_is_named() -> None:
    environ = {"HTTPS_PROXY": "http://spy:1", "SSL_CERT_FILE": "/spy.pem", "PATH": "/bin", "no_proxy": ""}
    assert clean(environ) == ("HTTPS_PROXY", "SSL_CERT_FILE")
    assert environ == {"PATH": "/bin"}
    silent = outbound_route_of(
        FAR, ModelOptions(), NetworkConfig(ignored_variables=("HTTPS_PROXY",)), is_local=False
    )
    assert "oblix config import-environment" in silent.hint
    said = outbound_route_of(
        FAR, ModelOptions(), NetworkConfig(PROXY, ignored_variables=("HTTPS_PROXY",)), is_local=False
    )
    assert said.hint == ""


def test_certificates_that_can_not_be_read_are_named(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong.pem").write_text("no certificate")
    for trust in (
        Trust(files=(str(tmp_path / "gone.pem"),)),
        Trust(files=(str(tmp_path / "wrong.pem"),)),
        Trust(directories=(str(tmp_path / "empty"),)),
    ):
        with pytest.raises(TrustError, match=str(tmp_path)):
            trust.context()
