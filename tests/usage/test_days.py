"""Days of one time zone: the configuration's, else the system's, never that of an environment."""

from __future__ import annotations

import time
from datetime import date, datetime
from pathlib import Path
from zoneinfo import TZPATH

import pytest

from oblixd.app.wiring import time_zone
from oblixd.config.loader import ConfigError
from oblixd.config.schema import Config
from oblixd.config.schema import Usage as UsageConfig
from oblixd.errors import InvalidArgumentError
from oblixd.store import Store
from oblixd.usage import TABLE_NAMES, Caps, Usage
from oblixd.usage.days import begin_of, day_at, zone_of

NEW_YEAR = datetime.fromisoformat("2026-12-31T23:30:00+00:00").timestamp()
ZONES = next((Path(path) for path in TZPATH if (Path(path) / "Asia/Tokyo").exists()), None)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a program that is in another zone."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
def test_a_name_decides() -> None:
    assert day_at(NEW_YEAR, zone_of("UTC")) == date(2026, 12, 31)
    assert day_at(NEW_YEAR, zone_of("Europe/Paris")) == date(2027, 1, 1)
    assert day_at(NEW_YEAR, zone_of("America/New_York")) == date(2026, 12, 31)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.skipif(ZONES is None, reason="this machine has no files of time zones")
def test_without_a_name_the_systems_file_decides(tmp_path: Path) -> None:
    assert ZONES is not None
    system = tmp_path / "localtime"
    system.symlink_to(ZONES / "Asia/Tokyo")
    assert day_at(NEW_YEAR, zone_of("", system)) == date(2027, 1, 1)
    assert zone_of("", tmp_path / "missing") is None
    system.unlink()
    system.write_bytes(b"no zone")
    assert zone_of("", system) is None


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "Europe"])
def test_a_name_that_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="Name a zone such as"):
        zone_of(name)
    with pytest.raises(ConfigError, match=r"usage\.time_zone"):
        time_zone(Config(usage=UsageConfig(time_zone=name)))


def test_days_begin_where_clocks_are_changed() -> None:
    paris = zone_of("Europe/Paris")
    before, after = (begin_of(date(2026, 3, day), paris).utcoffset() for day in (29, 30))
    assert (before, after) != (None, None)
    assert before != after
    assert begin_of(date(2026, 3, 29), None).tzinfo is not None


async def test_usage_and_caps_go_by_it(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "store", TABLE_NAMES, map_size=1 << 24)
    try:
        zone = zone_of("Europe/Paris")
        usage = Usage(store, caps=Caps(daily=1.0), clock=lambda: NEW_YEAR, zone=zone)
        assert usage.today() == date(2027, 1, 1)
        [state] = usage.budgets()
        assert state.resets.isoformat() == "2027-01-02T00:00:00+01:00"
    finally:
        await store.close()
