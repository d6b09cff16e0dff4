"""`oblix models default` and `alias`: which model a prompt goes to, and what models are called here."""

from __future__ import annotations

import argparse

import oblix
from oblix.cli import preferences
from oblix.cli.errors import CommandError
from oblix.cli.options import models
from oblix.cli.options.json_output import add_json
from oblix.cli.output import answers, tables

COLUMNS = {"name": "ALIAS", "model": "MODEL"}
DEFAULT = """Without a MODEL it prints what `ask` and `chat` use where none is named. `auto` leaves the
choice to routing again."""


def configure(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommands."""
    default = actions.add_parser(
        "default", help="show or set the model of prompts that name none", description=DEFAULT
    )
    default.add_argument("model", nargs="?", metavar="MODEL", help=models.HELP)
    add_json(default, "print it as JSON; null: routing chooses", is_default=False)
    default.set_defaults(run=_default)
    alias = actions.add_parser("alias", help="list aliases of models, or define one")
    alias.add_argument("name", nargs="?", metavar="NAME")
    alias.add_argument("model", nargs="?", metavar="MODEL", help="its model; without one the name is dropped")
    add_json(alias, "print them as JSON", is_default=False)
    alias.set_defaults(run=_alias)


def _default(arguments: argparse.Namespace) -> None:
    if arguments.model is None:
        chosen = preferences.load().model
        if arguments.json:
            tables.show_json({"model": chosen})
        else:
            print(chosen or "auto")
        return
    model = None if arguments.model == "auto" else models.known_id(oblix.OblixClient(), arguments.model)
    preferences.change("defaults", "model", model)
    answers.note(f"oblix: prompts go to {model or 'the model that routing chooses'} from now on.")


def _alias(arguments: argparse.Namespace) -> None:
    if arguments.name is None:
        aliases = preferences.load().aliases
        if arguments.json:
            tables.show_json(dict(aliases))
        elif aliases:
            tables.show_rows([{"name": name, "model": model} for name, model in aliases.items()], COLUMNS)
        else:
            answers.note("oblix: there is no alias yet. `oblix models alias fast ollama:llama3.2` gives one.")
        return
    model = arguments.model and models.known_id(oblix.OblixClient(), arguments.model)
    if model is None and arguments.name not in preferences.load().aliases:
        raise CommandError(f"there is no alias {arguments.name}.")
    if model is None:
        old = preferences.load().aliases[arguments.name]
        answers.note(f"oblix: {arguments.name} no longer stands for {old}.")
    preferences.change("aliases", arguments.name, model)
