"""Which daemon a client is for: this user's, or the one at an address."""

from __future__ import annotations

from pathlib import Path

import oblix
import pytest
from oblix import OblixClient, UnavailableError


@pytest.mark.parametrize(
    ("host", "port"), [("localhost", 4321), ("127.0.0.1", None), (None, 4321), ("::1", 4321)]
)
def test_the_documented_address_is_this_users_daemon(
    client: OblixClient, host: str | None, port: int | None
) -> None:
    assert (
        OblixClient("a key", host=host, port=port, config_path="config.toml").list_sessions(limit=1)
        is not None
    )


def test_another_address_is_dialled_and_nothing_is_started(home: Path) -> None:
    client = OblixClient(host="127.0.0.1", port=1)
    with pytest.raises(UnavailableError, match=r"Nobody listens at 127\.0\.0\.1:1\.") as caught:
        client.list_sessions()
    assert caught.value.reason == "DAEMON_UNREACHABLE"
    assert not any(home.iterdir())


@pytest.mark.parametrize(
    "arguments", [{"host": ""}, {"host": 1}, {"port": 0}, {"port": 65536}, {"port": "4321"}, {"port": True}]
)
def test_an_address_that_is_none_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(oblix.InvalidArgumentError):
        OblixClient(**arguments)
