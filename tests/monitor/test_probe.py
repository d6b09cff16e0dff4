"""Looks at real sockets: what connects, and in what words a failure is told."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest
from support.drivers.waiting import eventually
from support.faults import bad_ports
from support.proxies import certificates

from oblixd.monitor.network import probe
from oblixd.monitor.network.dns_cache import DnsCache
from oblixd.monitor.network.probe import ProbeError, Prober, Target


@pytest.fixture
def prober(tmp_path, monkeypatch):
    """One that trusts only the certificate for 127.0.0.1 in the test's folder."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.make(tmp_path, "IP:127.0.0.1", "DNS:localhost")))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return Prober(DnsCache())


@asynccontextmanager
async def serving(tls=None, handle=None):
    """A server that says nothing. Gives its port, and the bytes that visitors sent it."""
    heard = bytearray()

    async def listen(reader, writer):
        try:
            while read := await reader.read(4096):
                heard.extend(read)
        except OSError:
            return  # a visitor who hangs up may do so without a word
        finally:
            writer.close()

    server = await asyncio.start_server(handle or listen, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


def test_an_origin_says_where_to_look():
    assert Target.of("https://api.example.com:443") == Target("api.example.com", 443, True)
    assert Target.of("http://[::1]:8080") == Target("::1", 8080, False)


async def test_a_plain_server_is_connected_to_and_hears_nothing(prober):
    async with serving() as (port, heard):
        assert 0.0 < await prober.probe(Target("127.0.0.1", port, False)) < 2000.0
        assert not heard


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_certificate_that_is_trusted_is_welcome_and_nothing_is_said_above_it(prober, tmp_path, host):
    tls = certificates.server_side(tmp_path / "IP-127.0.0.1.pem")
    async with serving(tls) as (port, heard):
        assert await prober.probe(Target(host, port, True)) > 0.0
        assert not heard


@pytest.mark.parametrize("name", ["DNS:wifi.example.com", "IP:127.0.0.1"])
async def test_somebody_elses_certificate_is_a_portal(prober, tmp_path, name):
    (tmp_path / "other").mkdir()
    tls = certificates.server_side(certificates.make(tmp_path / "other", name))
    async with serving(tls) as (port, _):
        with pytest.raises(ProbeError, match=r"its certificate is not valid for it \(.+\): a captive portal"):
            await prober.probe(Target("127.0.0.1", port, True))


async def test_a_certificate_for_another_host_is_a_portal(prober, tmp_path):
    tls = certificates.server_side(tmp_path / "IP-127.0.0.1.pem")
    async with serving(tls) as (port, _):
        with pytest.raises(ProbeError, match="its certificate is not valid for it"):
            await prober.probe(Target("127.1", port, True))


async def test_no_tls_where_tls_is_wanted_is_a_failure(prober):
    async def speak_plainly(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with serving(handle=speak_plainly) as (port, _):
        with pytest.raises(ProbeError, match="TLS failed"):
            await prober.probe(Target("127.0.0.1", port, True))


async def test_a_server_that_is_silent_in_the_handshake_is_not_waited_for(prober, monkeypatch):
    monkeypatch.setattr(probe, "HANDSHAKE_S", 0.05)
    async with serving() as (port, _):
        with pytest.raises(ProbeError, match=r"TLS was not agreed upon within 0\.05 s"):
            await prober.probe(Target("127.0.0.1", port, True))


async def test_a_closed_port_is_refused(prober):
    with bad_ports.unheard() as port, pytest.raises(ProbeError, match="nothing listens there"):
        await prober.probe(Target("127.0.0.1", port, False))


async def test_a_server_that_takes_nobody_is_not_waited_for(prober, monkeypatch):
    monkeypatch.setattr(probe, "CONNECT_S", 0.05)
    in_vain = pytest.raises(ProbeError, match=r"no connection came about within 0\.05 s")
    with bad_ports.deaf() as port, in_vain:
        await prober.probe(Target("127.0.0.1", port, False))


async def test_a_name_that_can_not_be_looked_up_says_so(prober):
    with pytest.raises(ProbeError, match="its name could not be looked up"):
        await prober.probe(Target("no..such..host", 80, False))


async def test_no_more_than_a_few_look_at_once(prober):
    visitors = []

    async def keep_waiting(reader, writer):
        visitors.append(writer)
        await reader.read()
        writer.close()

    async with serving(handle=keep_waiting) as (port, _):
        looks = [asyncio.create_task(prober.probe(Target("127.0.0.1", port, True))) for _ in range(20)]
        await eventually(lambda: len(visitors) >= probe.MOST_AT_ONCE)
        async with serving() as (other, _):
            asked = asyncio.create_task(prober.probe(Target("127.0.0.1", other, False)))
            looks[0].cancel()
            await eventually(lambda: len(visitors) > probe.MOST_AT_ONCE)
            assert (len(visitors), asked.done()) == (probe.MOST_AT_ONCE + 1, False)
            for look in [*looks, asked]:
                look.cancel()
            await asyncio.wait([*looks, asked])


async def test_addresses_are_remembered_and_looked_up_anew_when_they_fail(prober, monkeypatch):
    lookups = []
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: lookups.append(a) or real(*a, **k))
    async with serving() as (port, _):
        for _ in range(3):
            await prober.probe(Target("localhost", port, False))
    assert len(lookups) == 1
    assert "127.0.0.1" in prober.names.known_addresses("localhost")
    for _ in range(2):
        with pytest.raises(ProbeError):
            await prober.probe(Target("localhost", port, False))
    assert len(lookups) == 2
    prober.names.keep(set())
    assert prober.names.known_addresses("localhost") == []
