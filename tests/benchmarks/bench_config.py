"""How long reading the configuration takes at a start: by msgspec, and by pydantic (docs/decisions)."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from measure import Line, report

ROUNDS = 15
SCHEMAS = {
    "msgspec": """
from typing import Annotated
import msgspec
class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    grace_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 10.0
    name: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")] = "a"
{sections}
class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
{fields}
msgspec.convert({{"s0": {{"grace_s": 3}}}}, Config)
""",
    "pydantic": """
from typing import Annotated
from pydantic import BaseModel, ConfigDict, Field
class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    grace_s: Annotated[float, Field(ge=0, le=3600)] = 10.0
    name: Annotated[str, Field(pattern="^[a-z]+$")] = "a"
{sections}
class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
{fields}
Config.model_validate({{"s0": {{"grace_s": 3}}}})
""",
}
SECTIONS = 16


def main() -> int:
    """Start an interpreter that imports the library, builds sixteen sections and checks one document."""
    times: dict[str, list[float]] = {name: [] for name in ["nothing", *SCHEMAS]}
    for _ in range(ROUNDS):
        for name, own in times.items():
            own.append(_took_ms(_script(name)))
    nothing, msgspec, pydantic = (statistics.median(own) for own in times.values())
    rows = [
        Line("msgspec, beside an empty interpreter", msgspec - nothing, "ms"),
        Line("pydantic, the same", pydantic - nothing, "ms"),
        Line("msgspec / pydantic", (msgspec - nothing) / (pydantic - nothing), "x", 1.0),
    ]
    return report("reading a configuration at a start", rows)


def _script(name: str) -> str:
    if name == "nothing":
        return "from typing import Annotated"
    base = "Section"
    sections = "\n".join(f"class S{number}({base}): pass" for number in range(SECTIONS))
    fields = "\n".join(f"    s{number}: S{number} = S{number}()" for number in range(SECTIONS))
    return SCHEMAS[name].format(sections=sections, fields=fields)


def _took_ms(script: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", script], check=True)
    return (time.perf_counter() - began) * 1e3


if __name__ == "__main__":
    sys.exit(main())
