"""Writes what tells of the settings: the page of the docs, and the template of `oblix config init`.

python -m oblixd.config.reference > docs/reference/configuration.md
"""

from __future__ import annotations

import ast
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from oblixd.config import schema
from oblixd.config.schema import ListenTable, ModelTable, PolicyTable, PriceTable, RuleTable
from oblixd.config.settings import Setting, sections, settings
from oblixd.fields import describe_type, hints_of
from oblixd.models import options

_TABLES = {
    "models": ModelTable,
    "listen": ListenTable,
    "usage.prices": PriceTable,
    "routing.policies": PolicyTable,
    "routing.rules": RuleTable,
}
_INTRODUCTION = """\
# Configuration

`oblixd` reads `$XDG_CONFIG_HOME/oblix/config.toml` (`~/.config/oblix/config.toml`; with `OBLIX_HOME` set,
`$OBLIX_HOME/config.toml`). The file and all settings are optional. A variable in the daemon's environment
overrides the file. If a setting is unknown or out of range, the daemon does not start, and an error names
the file, the line and the setting.

`oblix config` shows each setting with its value and its source.
`oblix config set KEY VALUE` changes the file and keeps its comments.
`oblix config edit` opens the file, `validate` checks it, and `init` writes a template.
`oblix reload`, or SIGHUP, makes the running daemon read the file again.
Most settings change at once: models, endpoints, prices, caps, policies, rules, the network and more.
The daemon names the others; they change after `oblix restart`.

This page is generated: `python -m oblixd.config.reference > docs/reference/configuration.md`."""
_TABLES_INTRODUCTION = """\
## Tables

A table with two brackets can occur several times. Each one adds an entry to a list.

```toml
[[models]]
name = "gpt-4o-mini"
provider = "openai"
key_file = "/home/you/.config/oblix/openai.key"
price = { input = 0.15, output = 0.60 }

[[models]]
name = "qwen3:8b"
provider = "ollama"
num_ctx = 16384
aliases = ["fast"]

[[usage.prices]]
model = "claude:*"
input = 3
output = 15

[[routing.policies]]
name = "night"
base = "prefer-cloud"
cpu_threshold = 50
max_cost = 0.01

[[routing.rules]]
key = "category"
value = "medical"
policy = "private"
```

`prices`, `policies`, `rules` and `[embedded] models` can also be lists of texts, which is the older form.
It still works; the log and `oblix config validate` show the new form."""


def page() -> str:
    """Give the whole page."""
    meanings = {**meanings_in(Path(options.__file__)), **meanings_in(Path(schema.__file__))}
    lines = [_INTRODUCTION]
    for section in sections():
        lines += ["", f"## [{section}]", "", meanings[section], "", *_SECTION_HEAD]
        own = [setting for setting in settings() if setting.section == section]
        lines += [_row(setting, meanings[setting.key]) for setting in own]
    lines += ["", _TABLES_INTRODUCTION]
    for name, kind in _TABLES.items():
        lines += ["", f"### [[{name}]]", "", meanings[kind.__name__.lower()], "", *_TABLE_HEAD]
        lines += list(_fields(kind, meanings))
    return "\n".join(lines) + "\n"


def meanings_in(source: Path) -> dict[str, str]:
    """Give the text under every class and field of a module, by `section` and `section.name`."""
    found = {}
    for kind in (
        node for node in ast.parse(source.read_text("utf-8")).body if isinstance(node, ast.ClassDef)
    ):
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


def _fields(kind: Any, meanings: Mapping[str, str]) -> Iterator[str]:
    """Give a row for each field, those that must be given first."""
    owners = [one.__name__.lower() for one in kind.__mro__ if hasattr(one, "__struct_fields__")]
    fields = sorted(msgspec.structs.fields(kind), key=lambda field: not field.required)
    for field in fields:
        kind_text = _cell(describe_type(hints_of(kind)[field.name]))
        meaning = next(meanings[key] for one in owners if (key := f"{one}.{field.name}") in meanings)
        needed = "needed" if field.required else "optional"
        yield f"| `{field.name}` | {kind_text} | {needed} | {meaning} |"


def _row(setting: Setting, meaning: str) -> str:
    default = "empty" if setting.default in ("", ()) else f"`{to_toml(setting.default)}`"
    return f"| `{setting.name}` | {_cell(setting.type_text)} | {default} | {meaning} | `{setting.variable}` |"


def to_toml(value: Any) -> str:
    """Write a value as a TOML file has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


_SECTION_HEAD = ("| Setting | Takes | Default | Meaning | Environment |", "|---|---|---|---|---|")
_TABLE_HEAD = ("| Setting | Takes | | Meaning |", "|---|---|---|---|")


WIDTH = 100
_TEMPLATE = """\
# The configuration of Oblix. Remove the # before a setting to change it.
# `oblix config validate` checks this file, and `oblix reload` has the running daemon read it.

# Models for programs that hook none, in the order in which they are tried:
#
# [[models]]
# name = "qwen3:8b"
# provider = "ollama"
#
# [[models]]
# name = "gpt-4o-mini"
# provider = "openai"
# key_file = "/home/you/.config/oblix/openai.key"
# price = { input = 0.15, output = 0.60 }

# TCP addresses beside the socket. Clients need a token there; beyond this machine TLS, too:
#
# [[listen]]
# address = "tcp://127.0.0.1:4321"
"""


def template() -> str:
    """Give the whole file."""
    return "\n".join([_TEMPLATE, *_template_sections()])


def _template_sections() -> Iterator[str]:
    meanings = meanings_in(Path(schema.__file__))
    for section in sections():
        yield from _comment_lines(meanings[section])
        yield f"[{section}]"
        for setting in settings():
            if setting.section == section:
                yield from _template_setting(setting, meanings[setting.key])
        yield ""


def _template_setting(setting: Setting, meaning: str) -> Iterator[str]:
    yield from _comment_lines(f"{meaning} It takes {setting.type_text}.")
    yield f"# {setting.name} = {json.dumps(msgspec.to_builtins(setting.default))}"


def _comment_lines(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(" ".join(text.split()), WIDTH - 2))


if __name__ == "__main__":
    sys.stdout.write(page())
