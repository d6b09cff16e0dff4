"""`oblix doctor`: finds what is wrong with an installation, and says how to mend it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict

from oblix.cli.commands.service.config import read_of_daemon
from oblix.cli.doctor import Check, Finding, Surroundings, daemons, files, models
from oblix.cli.errors import CommandError
from oblix.cli.output import tables

CHECKS: dict[str, Check] = {
    "directories": files.directories,
    "secrets": files.secrets,
    "configuration": models.configuration,
    "daemon": daemons.daemon,
    "installations": daemons.installations,
    "service": daemons.service,
    "disk": files.room,
    "clock": files.clock,
    "proxies": models.proxies,
    "embedded model": models.engine,
    "Ollama": models.ollama,
    "graphics": models.graphics,
}
COLOURS = {"ok": "\x1b[32m", "note": "", "warning": "\x1b[33m", "fault": "\x1b[31m"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--quiet", action="store_true", help="print only problems")
    parser.epilog = "It changes nothing and starts no daemon. The exit code is 1 if something does not work."
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look at everything, and print what was found."""
    found = list(examine())
    if arguments.quiet:
        found = [one for one in found if one.level != "ok"]
    if arguments.json:
        tables.show_json([asdict(one) for one in found])
    else:
        for one in found:
            _show(one)
        _show_sum(found)
    return 1 if any(one.level == "fault" for one in found) else 0


def examine() -> Iterator[Finding]:
    """Run each check. One that fails itself is a finding, too."""
    around = Surroundings(os.environ, _settings())
    for name, check in CHECKS.items():
        try:
            yield from check(around)
        except Exception as error:  # noqa: BLE001 - the other checks are still worth running
            yield Finding("warning", "check-failed", f"{name} could not be looked at: {error!r}")


def _settings() -> dict[str, object]:
    try:
        return {key: one["value"] for key, one in json.loads(read_of_daemon("show", "--json")).items()}
    except CommandError:
        return {}


def _show(one: Finding) -> None:
    colour = COLOURS[one.level] if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ""
    print(f"{colour}{one.level:<8}{chr(27) + '[0m' if colour else ''} {one.what}")
    if one.remedy:
        print(f"{'':<8} -> {one.remedy}")


def _show_sum(findings: list[Finding]) -> None:
    faults = sum(one.level == "fault" for one in findings)
    warnings = sum(one.level == "warning" for one in findings)
    if faults or warnings:
        print(f"\n{tables.count_text(faults, 'fault')}, {tables.count_text(warnings, 'warning')}.")
    else:
        print("\nNothing is wrong.")
