"""The command's own part of the configuration file: defaults, aliases of models, and templates.

    [defaults]
    model = "ollama:qwen3"
    system = "Answer in one paragraph."
    policy = "prefer-local"

    [aliases]
    fast = "ollama:llama3.2"

    [templates.review]
    prompt = "Review this change for $audience:\n\n$input"
    system = "You are a careful reviewer."
    defaults = { audience = "a colleague" }

A template may also be a file of the directory `templates` beside the configuration: `review.toml` with the
same keys, or `review.md` or `review.txt`, whose whole text is the prompt. `[mcp]` and `[acp]` state what
programs may see (`oblix.cli.options.scope`). The daemon reads none of this.
"""

from __future__ import annotations

import functools
import os
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oblix.cli.errors import CommandError
from oblix.cli.parser import suggestion

INPUT = "input"
"""The variable of a template that stands for what is asked."""
TEXT_SUFFIXES = frozenset({".md", ".txt"})
OWN_TABLES = ("defaults", "aliases", "templates")
"""The tables of the file that are read here, and by every prompt."""


class Template(NamedTuple):
    """A prompt to be filled in, and what goes with it."""

    prompt: str = "$input"
    """`$name` or `${name}` is a variable, `$$` a dollar sign."""
    system: str | None = None
    model: str | None = None
    policy: str | None = None
    schema: str | None = None
    """As `--schema` takes it."""
    description: str = ""
    defaults: Mapping[str, str] = {}
    """What variables are where nobody gives a value."""

    def variables(self) -> list[str]:
        """Return the names in the prompt but `input`, in order."""
        names = string.Template(self.prompt).get_identifiers()
        return [name for name in names if name != INPUT]

    def fill(self, prompt: str, values: Mapping[str, str]) -> str:
        """Return the prompt with its variables. What is asked follows it where it has no `$input`.

        Raises CommandError for a variable without a value, and for a value that nothing asks for.
        """
        known = {**self.defaults, **values}
        missing = [name for name in self.variables() if name not in known]
        if missing:
            raise CommandError(
                f"the template wants {', '.join(missing)}: give it with -p {missing[0]}=VALUE."
            )
        if unused := [name for name in values if name not in self.variables()]:
            raise CommandError(
                f"the template has no variable {unused[0]}.{suggestion(unused[0], self.variables())}"
            )
        text = string.Template(self.prompt).safe_substitute({**known, INPUT: prompt})
        has_input = INPUT in string.Template(self.prompt).get_identifiers()
        return text if has_input or not prompt else f"{text}\n\n{prompt}"


class Preferences(NamedTuple):
    """What a person set for the command."""

    model: str | None = None
    """The model of prompts for which none is named."""
    system: str | None = None
    """The system message of new sessions for which none is given."""
    policy: str | None = None
    aliases: Mapping[str, str] = {}
    """Other names of models: `fast` for `ollama:llama3.2`."""
    templates: Mapping[str, Template] = {}

    def template(self, name: str) -> Template:
        """Return the template of that name. Raises CommandError."""
        if name in self.templates:
            return self.templates[name]
        near = suggestion(name, self.templates)
        raise CommandError(f"there is no template {name}.{near} `oblix templates` lists them.")


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the configuration file is, as the daemon computes it."""
    if home := environ.get("OBLIX_HOME"):
        return Path(home) / "config.toml"
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".config") / "oblix" / "config.toml"


def templates_path() -> Path:
    """Return the directory of template files."""
    return config_path().with_name("templates")


def read_table(name: str) -> dict[str, Any]:
    """Return one table of the file, empty where it is not there. Raises CommandError."""
    path = config_path()
    return _table(_read(path, (name,)), name, path)


@functools.cache
def load() -> Preferences:
    """Return what is set. Raises CommandError for what can't be."""
    path = config_path()
    document = _read(path, OWN_TABLES)
    defaults = _texts(document, "defaults", path, ("model", "system", "policy"))
    aliases = _texts(document, "aliases", path)
    tables = _table(document, "templates", path)
    templates = {name: _template(table, f"templates.{name}", path) for name, table in tables.items()}
    return Preferences(**defaults, aliases=aliases, templates=_template_files() | templates)


def change(table: str, key: str, value: str | None) -> None:
    """Write one value of `[defaults]` or `[aliases]`, None to take it out. Comments stay."""
    import tomlkit

    path = config_path()
    document = tomlkit.parse(path.read_text("utf-8-sig")) if path.exists() else tomlkit.document()
    if value is None:
        document.get(table, {}).pop(key, None)
    else:
        document.setdefault(table, tomlkit.table())[key] = value
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(tomlkit.dumps(document), "utf-8")
    draft.replace(path)
    load.cache_clear()


def _toml(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)


def _read(path: Path, tables: Sequence[str]) -> dict[str, Any]:
    """Return the file. One that names none of the tables is not parsed: that takes as long as a call."""
    try:
        written = path.read_text("utf-8-sig")
        return _toml(written) if any(name in written for name in tables) else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} can't be read: {error}") from None


def _template_files() -> dict[str, Template]:
    directory = templates_path()
    found = sorted(directory.iterdir()) if directory.is_dir() else []
    return {path.stem: _template_of(path) for path in found if path.suffix in {".toml", *TEXT_SUFFIXES}}


def _template_of(path: Path) -> Template:
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix in TEXT_SUFFIXES:
            return Template(prompt=text.rstrip("\n"))
        return _template(_toml(text), path.stem, path)
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} can't be read: {error}") from None


def _template(table: Any, name: str, path: Path) -> Template:
    if not isinstance(table, dict):
        raise CommandError(f"{path}: {name} is a table with a prompt, not {table!r}.")
    known = Template._fields
    if unknown := [key for key in table if key not in known]:
        raise CommandError(f"{path}: {name} has no {unknown[0]}.{suggestion(unknown[0], known)}")
    values = dict(table)
    defaults = {key: str(value) for key, value in dict(values.pop("defaults", {})).items()}
    return Template(**{key: str(value) for key, value in values.items()}, defaults=defaults)


def _table(document: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise CommandError(f"{path}: [{name}] is a table, not {table!r}.")
    return table


def _texts(document: Mapping[str, Any], name: str, path: Path, names: tuple[str, ...] = ()) -> dict[str, str]:
    table = _table(document, name, path)
    for key, value in table.items():
        if names and key not in names:
            raise CommandError(f"{path}: [{name}] has no {key}.{suggestion(key, names)}")
        if not isinstance(value, str):
            raise CommandError(f"{path}: {name}.{key} is a text, not {value!r}.")
    return dict(table)
