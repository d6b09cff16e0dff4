"""The settings one by one: where each stands, what it takes, and which variable overrides it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_origin

import msgspec

from oblixd.config.schema import Config
from oblixd.fields import convert, describe_type, hints_of, is_struct

_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a section."""

    section: str
    name: str
    kind: Any
    """Its type, with its limits."""
    default: Any

    @property
    def key(self) -> str:
        """Its name in full, as messages call it."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return f"OBLIX_{self.section}_{self.name}".upper()

    @property
    def type_text(self) -> str:
        """What it takes, for a person."""
        return describe_type(self.kind)

    def parse(self, text: str) -> Any:
        """Give the value that a text stands for. A list is cut at commas. Raises FieldError."""
        bare = get_args(self.kind)[0] if get_origin(self.kind) is Annotated else self.kind
        return convert(_read(bare, text), self.kind, self.variable)


def _read(kind: Any, text: str) -> Any:
    if get_origin(kind) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is bool:
        return _BOOLS.get(text.lower(), text)
    if kind in {int, float}:
        try:
            return kind(text)
        except ValueError:
            return text
    return text


@cache
def settings() -> tuple[Setting, ...]:
    """List all of them, in the order of their sections. `[[models]]` is a list of tables, and none of them.

    Made when somebody asks: most starts of the daemon need none of it.
    """
    return tuple(
        Setting(section, field.name, hints_of(kind)[field.name], field.default)
        for section, kind in hints_of(Config).items()
        if is_struct(kind)
        for field in msgspec.structs.fields(kind)
    )


def sections() -> tuple[str, ...]:
    """Name the sections that they stand in, in order."""
    return tuple(dict.fromkeys(setting.section for setting in settings()))
