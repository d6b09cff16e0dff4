"""`oblix models add`, `remove` and `test`: models of the configuration, by name."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import oblix
from oblix._convert.api_keys import SERVICE, in_file
from oblix._convert.presets import PRESETS, Preset, table_of
from oblix.cli import daemon
from oblix.cli.commands.service.config import of_daemon
from oblix.cli.errors import CommandError
from oblix.cli.options import models
from oblix.cli.options.json_output import add_json
from oblix.cli.output import tables
from oblix.cli.parser import suggestion

EMBEDDED = "embedded"
_ARGUMENTS = {"name", "provider", "endpoint"}
QUESTION = "Reply with the single word OK."
ADD = """Writes a model into the configuration, so that every program can use it. It first asks the model
one short question, and writes nothing if that fails. It takes the key from the environment or asks for it,
and writes it into a file that only you can read."""
KINDS = "\n".join(
    f"  {word + ':NAME':20} {title}"
    for word, title in [
        *((word, preset.title) for word, preset in PRESETS.items()),
        (EMBEDDED, "a GGUF file, with --file"),
    ]
)
MODEL_HELP = "PROVIDER:NAME as `oblix models` shows it, or KIND:NAME"


def configure(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommands."""
    add = actions.add_parser(
        "add",
        help="test a model, and add it to the configuration",
        description=ADD,
        epilog=f"kinds of servers:\n{KINDS}",
    )
    add.add_argument(
        "model", metavar="KIND:NAME", type=_kind_and_name, help="as in groq:llama-3.3-70b-versatile"
    )
    add.add_argument("--endpoint", metavar="URL", default="", help="where its server is, if not as usual")
    key = add.add_mutually_exclusive_group()
    key.add_argument(
        "--api-key-file", metavar="FILE", help="the key's file, which only you can read; it stays there"
    )
    key.add_argument(
        "--keyring", action="store_true", help="put the key into the system's keyring, not in a file"
    )
    key.add_argument("--no-key", action="store_true", help="the server wants no key")
    add.add_argument("--file", metavar="FILE", help="the GGUF file of an embedded: model")
    add.add_argument("--alias", action="append", default=[], help="another name for it; can be repeated")
    add.add_argument(
        "--context-window", type=int, metavar="TOKENS", help="its context, if its server tells none"
    )
    add.add_argument("--no-test", action="store_true", help="write it without asking it anything")
    add.set_defaults(run=_add)
    remove = actions.add_parser("remove", help="remove a model from the configuration; its key stays")
    remove.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    remove.set_defaults(run=_remove)
    test = actions.add_parser("test", help="ask one model one short question")
    test.add_argument("model", metavar="MODEL", help=models.HELP)
    add_json(test, "print the answer and how long it took as JSON", is_default=False)
    test.set_defaults(run=_test)


def _add(arguments: argparse.Namespace) -> int:
    word, name = arguments.model
    if word == EMBEDDED:
        return _write_model(_embedded_table(name, arguments))
    preset = PRESETS[word]
    if not (arguments.endpoint or preset.endpoint):
        raise CommandError(f"{word}:{name} can be anywhere: say where with --endpoint URL.")
    table = table_of(word, name, endpoint=arguments.endpoint)
    table |= {"aliases": arguments.alias} if arguments.alias else {}
    table |= {"context_window": arguments.context_window} if arguments.context_window else {}
    key = _key(word, preset, arguments)
    if not arguments.no_test:
        _try(table, key)
    return _write_model(table | _store_key(word, key, arguments))


def _embedded_table(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    if not arguments.file:
        raise CommandError(
            f"embedded:{name} is a file: name it with --file. `oblix models discover` finds some."
        )
    file = Path(arguments.file).expanduser().absolute()
    if not file.is_file():
        raise CommandError(f"there is no file {file}.")
    table = {"name": name, "provider": EMBEDDED, "file": str(file)}
    return table | ({"aliases": arguments.alias} if arguments.alias else {})


def _write_model(table: dict[str, Any]) -> int:
    if code := of_daemon("add-model", stdin=json.dumps(table)):
        return code
    print(f"{table['provider']}:{table['name']} is in the configuration.")
    if daemon.is_running():
        daemon.reload()
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    code = of_daemon("remove-model", _model_id(arguments.model))
    if code == 0 and daemon.is_running():
        daemon.reload()
    return code


def _test(arguments: argparse.Namespace) -> None:
    model = models.known_id(oblix.OblixClient(), arguments.model)
    answer, seconds = asyncio.run(_ask_once(model, None, ""))
    if arguments.json:
        tables.show_json({"model": model, "answer": answer, "seconds": seconds})
    else:
        _tell(model, answer, seconds)


def _try(table: dict[str, Any], key: str) -> None:
    print(f"oblix: asking {table['provider']}:{table['name']} one question ...", file=sys.stderr, flush=True)
    model = f"{table['provider']}:{table['name']}"
    _tell(model, *asyncio.run(_ask_once(model, table, key)))


def _tell(model: str, answer: str, seconds: float) -> None:
    print(f"{model} answered {' '.join(answer.split())[:60]!r} after {seconds:.1f} s.")


async def _ask_once(model: str, table: dict[str, Any] | None, key: str) -> tuple[str, float]:
    """Ask a model one question. Return its answer, and the seconds that it took."""
    async with oblix.OblixClient() as client:
        if table is not None:
            options = {
                name: value for name, value in table.items() if name not in {"name", "provider", "endpoint"}
            }
            endpoint = table.get("endpoint")
            await client.hook_model(table["provider"], table["name"], endpoint, key or None, **options)
        began = time.monotonic()
        answer = await client.execute(QUESTION, model=model, stream=False, display_metrics=False)
    return str(answer["response"]), round(time.monotonic() - began, 3)


def _key(word: str, preset: Preset, arguments: argparse.Namespace) -> str:
    """Return the key: out of the file, the environment, or asked for. Empty: none."""
    if arguments.no_key or preset.key == "none":
        return ""
    if arguments.api_key_file:
        return in_file(Path(arguments.api_key_file))
    if given := os.environ.get(preset.variable, "").strip():
        print(f"oblix: the key is that of {preset.variable}.", file=sys.stderr)
        return given
    if not sys.stdin.isatty():
        if preset.key == "optional":
            return ""
        raise CommandError(
            f"{preset.title} wants a key: set {preset.variable}, or name a file with --api-key-file."
        )
    where = f" ({preset.keys_at})" if preset.keys_at else ""
    optional = ", empty for none" if preset.key == "optional" else ""
    return getpass.getpass(f"Key for {preset.title}{where}{optional}: ").strip()


def _store_key(word: str, key: str, arguments: argparse.Namespace) -> dict[str, str]:
    """Put the key where the daemon finds it, and say in the table where that is."""
    if not key:
        return {}
    if arguments.api_key_file:
        return {"key_file": str(Path(arguments.api_key_file).absolute())}
    host = re.sub(r"[^A-Za-z0-9.-]", "-", arguments.endpoint.partition("://")[2].partition("/")[0])
    entry = f"{word}-{host}" if host else word
    if arguments.keyring:
        return {"key_keyring": _in_keyring(entry, key)}
    file = _key_directory() / f"{entry}.key"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        os.fchmod(descriptor, 0o600)
        out.write(f"{key}\n")
    print(f"oblix: the key is in {file}, which only you can read.", file=sys.stderr)
    return {"key_file": str(file)}


def _in_keyring(entry: str, key: str) -> str:
    try:
        import keyring
    except ImportError:
        raise CommandError("the package keyring is not installed: leave --keyring out.") from None
    try:
        keyring.set_password(SERVICE, entry, key)
    except Exception as error:  # noqa: BLE001 - a keyring's backends raise what they like
        raise CommandError(f"the keyring took no key ({error}): leave --keyring out.") from None
    return entry


def _key_directory() -> Path:
    """Return where keys are kept: beside the configuration."""
    home, config = os.environ.get("OBLIX_HOME"), os.environ.get("XDG_CONFIG_HOME", "")
    if home:
        return Path(home) / "keys"
    base = Path(config) if Path(config).is_absolute() else Path.home() / ".config"
    return base / "oblix" / "keys"


def _kind_and_name(text: str) -> tuple[str, str]:
    word, _, name = text.partition(":")
    if word not in {*PRESETS, EMBEDDED} or not name:
        kinds = ", ".join([*PRESETS, EMBEDDED])
        near = suggestion(word, [*PRESETS, EMBEDDED]) if name else ""
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND:NAME with one of the kinds {kinds}.{near}")
    return word, name


def _model_id(text: str) -> str:
    """`groq:NAME` as `custom:NAME`: the daemon knows the provider only."""
    word, separator, name = text.partition(":")
    return f"{PRESETS[word].provider.value}:{name}" if separator and word in PRESETS else text
