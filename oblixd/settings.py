"""How a setting is declared, checked and read from text. What settings there are stands in `config.py`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, get_type_hints


@dataclass(frozen=True, slots=True)
class Between:
    """A number's range, both ends included."""

    low: float
    high: float

    def admits(self, value: Any) -> bool:
        """Whether a number lies in it; what is not a number (nan) does not."""
        return bool(self.low <= value <= self.high)

    def words(self) -> str:
        """The range for a person."""
        return f"from {self.low:g} to {self.high:,.0f}"


@dataclass(frozen=True, slots=True)
class Matches:
    """A text's form: all of it matches `pattern`, which `form` says to a person."""

    pattern: str
    form: str

    def admits(self, value: Any) -> bool:
        """Whether a text, or every text of a list, has the form."""
        texts = [value] if isinstance(value, str) else value
        return all(re.fullmatch(self.pattern, text) for text in texts)

    def words(self) -> str:
        """The form for a person."""
        return f"({self.form})"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: where it stands, what it takes, and what it is when nobody says."""

    section: str
    name: str
    kind: Any
    """bool, int, float, str or tuple[str, ...]."""
    limit: Between | Matches | None
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
    def expected(self) -> str:
        """What it takes, for a person."""
        words = _WORDS[self.kind]
        return f"{words} {self.limit.words()}" if self.limit else words

    def checked(self, value: Any) -> Any:
        """The value as it is used. Raises ValueError for another type or one out of range."""
        value = _typed(self.kind, value)
        if self.limit is not None and not self.limit.admits(value):
            raise ValueError(value)
        return value

    def parsed(self, text: str) -> Any:
        """The value that a text stands for. A list is cut at commas. Raises ValueError."""
        if self.kind is bool:
            return self.checked(_BOOLS.get(text.lower(), text))
        if self.kind == tuple[str, ...]:
            return self.checked([part.strip() for part in text.split(",") if part.strip()])
        return self.checked(self.kind(text))


def settings_of(config: type[Any]) -> Iterator[Setting]:
    """Every setting of a dataclass of sections, in the order of their definition."""
    sections = get_type_hints(config)
    for section in fields(config):
        kind = sections[section.name]
        if hasattr(kind, "__dataclass_fields__"):
            yield from _settings_in(section.name, kind)


def _settings_in(section: str, kind: type[Any]) -> Iterator[Setting]:
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        hint = hints[field.name]
        limit = hint.__metadata__[0] if hasattr(hint, "__metadata__") else None
        bare = hint.__origin__ if limit else hint
        yield Setting(section, field.name, bare, limit, field.default)


def reference(settings: Sequence[Setting], source: str) -> str:
    """The page that documents the settings. Their meaning is the text under each field in `source`."""
    meanings = _meanings(source)
    lines = [_INTRODUCTION]
    for section in dict.fromkeys(setting.section for setting in settings):
        lines += ["", f"## [{section}]", "", meanings[section], "", *_TABLE_HEAD]
        lines += [_row(setting, meanings[setting.key]) for setting in settings if setting.section == section]
    return "\n".join(lines) + "\n"


def _row(setting: Setting, meaning: str) -> str:
    default = "empty" if setting.default in ("", ()) else f"`{_as_written(setting.default)}`"
    expected = setting.expected.replace("|", r"\|")
    return f"| `{setting.name}` | {expected} | {default} | {meaning} | `{setting.variable}` |"


def _as_written(value: Any) -> str:
    """A value as a TOML file has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meanings(source: str) -> dict[str, str]:
    """The text under every class and field, by `section` and `section.name`."""
    found = {}
    for kind in (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)):
        section = kind.name.lower()
        found[section] = ast.get_docstring(kind) or ""
        for pair in pairwise(kind.body):
            match pair:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[f"{section}.{name}"] = " ".join(text.split())
    return found


def _typed(kind: Any, value: Any) -> Any:
    """The value as `kind`. A whole number may stand for a number, and nothing else for something else."""
    if kind == tuple[str, ...] and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is kind:
        return value
    raise ValueError(value)


_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple[str, ...]: "a list of texts",
}
_TABLE_HEAD = ("| Setting | Takes | Default | Meaning | Environment |", "|---|---|---|---|---|")
_INTRODUCTION = """\
# Configuration

`oblixd` reads `$XDG_CONFIG_HOME/oblix/config.toml` (`~/.config/oblix/config.toml`; with `OBLIX_HOME` set,
`$OBLIX_HOME/config.toml`). The file need not exist, and neither does any setting in it. A variable in the
daemon's environment wins over the file. What is unknown or out of range keeps the daemon from starting, with
a line that names it.

This page is generated: `python -m oblixd.config > docs/configuration.md`."""
_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
