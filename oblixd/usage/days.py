"""Which day it is: days are those of one time zone, whatever the environment of the daemon says."""

from __future__ import annotations

import zoneinfo
from datetime import date, datetime, time, tzinfo
from pathlib import Path

from oblixd.errors import invalid_argument

SYSTEM_ZONE = Path("/etc/localtime")
"""The system's own time zone, as a file in the form of RFC 8536 (tzfile(5))."""


def zone_of(name: str, system: Path = SYSTEM_ZONE) -> tzinfo | None:
    """Give a time zone by its name in the IANA database; an empty name is the system's own.

    None where the system has none that can be read: the process's own counts then.
    Raises InvalidArgumentError for a name that is not known here.
    """
    if name:
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            message = f"usage.time_zone: {name} is not known here. Name a zone such as Europe/Paris or UTC."
            raise invalid_argument("CONFIG_INVALID", message, field="usage.time_zone", given=name) from None
    try:
        with system.open("rb") as file:
            return zoneinfo.ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError):
        # A minimal container has no such file: its processes run on UTC.
        return None


def day_at(seconds: float, zone: tzinfo | None) -> date:
    """Give the day at a time, in seconds since 1970."""
    return datetime.fromtimestamp(seconds, zone).date()


def begin_of(day: date, zone: tzinfo | None) -> datetime:
    """Give the instant when a day begins. A zone knows on which days clocks are changed."""
    midnight = datetime.combine(day, time())
    return midnight.astimezone() if zone is None else midnight.replace(tzinfo=zone)
