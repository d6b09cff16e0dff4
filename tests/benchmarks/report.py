"""The table of `compare.py`: as text, as JSON, and as the part of a page that is written anew by each run."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

BEGIN, END = "<!-- The table: `make bench` writes it. -->", "<!-- The table ends here. -->"
_VERDICTS = {None: "", True: "met", False: "MISSED"}


@dataclass(slots=True)
class Row:
    """A line of the table."""

    what: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None
    """None: there is no goal."""


@dataclass(slots=True)
class Table:
    """What was measured."""

    rows: list[Row] = field(default_factory=list)

    def add(
        self, what: str, value: float, unit: str, *, most: float | None = None, least: float | None = None
    ) -> None:
        """Add a line; `most` or `least` is its goal."""
        goal = f"<= {most:g}" if most is not None else f">= {least:g}" if least is not None else ""
        met = (most is None or value <= most) and (least is None or value >= least) if goal else None
        self.rows.append(Row(what, value, unit, goal, met))

    def show(self) -> str:
        """Return it as text."""
        lines = [
            f"{row.what:<68} {row.value:>10,.2f} {row.unit:<9} {row.goal:<9} {_VERDICTS[row.met]}".rstrip()
            for row in self.rows
        ]
        return "\n".join(lines)

    def markdown(self) -> str:
        """Return it as a table of Markdown."""
        return "\n".join(["| what | measured | goal |", "|---|---|---|", *map(_line, self.rows)])


def _line(row: Row) -> str:
    goal = row.goal.replace("<=", "at most").replace(">=", "at least")
    verdict = _VERDICTS[row.met].lower()
    return f"| {row.what} | {row.value:,.2f} {row.unit} | {', '.join(filter(None, (goal, verdict)))} |"


@dataclass(frozen=True, slots=True)
class About:
    """Where and when a table was measured."""

    date: str
    processor: str
    cores: int
    system: str
    python: str
    file_system: str
    load: float
    """Of the last minute, at the end: much of it is the benchmark's own."""
    seconds: float

    @classmethod
    def now(cls, directory: Path, began_s: float) -> About:
        """Describe this machine. `directory`: where the stores were; `began_s`: on the monotonic clock."""
        return cls(
            time.strftime("%-d %B %Y"),
            _processor(),
            os.cpu_count() or 1,
            f"{platform.system()} {platform.release().partition('-')[0]}",
            platform.python_version(),
            _file_system(directory),
            round(os.getloadavg()[0], 1),
            round(time.monotonic() - began_s),
        )

    def sentence(self) -> str:
        """Say it in one sentence."""
        return (
            f"Measured on {self.date} in {self.seconds:.0f} s on {self.cores} cores of {self.processor} "
            f"({self.system}, {self.file_system}, Python {self.python}, load {self.load:g} at the end)."
        )


def write_json(path: Path, table: Table, about: About) -> None:
    """Write the table for programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"about": asdict(about), "rows": [asdict(row) for row in table.rows]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def write_page(path: Path, table: Table, about: About, pictures: Mapping[Path, str]) -> None:
    """Put the table and pictures, by file, in the place of those that a page has, between two comments."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{path} has no place for the table: it stands between {BEGIN} and {END}")
    shown = [f"![{what}]({os.path.relpath(file, path.parent)})" for file, what in pictures.items()]
    new = "\n\n".join([BEGIN, about.sentence(), table.markdown(), *shown, END])
    path.write_text(f"{before}{new}{after}")


def _processor() -> str:
    lines: Sequence[str] = ()
    if (listed := Path("/proc/cpuinfo")).exists():
        lines = listed.read_text().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _file_system(directory: Path) -> str:
    """Return the type of the file system that a directory is on."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    holding = [(place, kind) for place, kind in mounts if directory.resolve().is_relative_to(place)]
    return max(holding, default=("", "unknown"), key=lambda one: len(one[0]))[1]
