"""`oblix templates`: the prompts of the configuration that `oblix ask -t` fills in."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess

from oblix.cli import preferences
from oblix.cli.errors import CommandError
from oblix.cli.options.json_output import add_json
from oblix.cli.output import answers, tables

COLUMNS = {"name": "TEMPLATE", "variables": "VARIABLES", "title": "WHAT IT IS FOR"}
NEW = """# oblix ask -t {name} -p NAME=VALUE "what is asked"
# $input is what is asked; other $words are variables.
description = ""
prompt = '''
$input
'''
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments and the actions."""
    parser.epilog = (
        "A template is a table [templates.NAME] of the configuration, or a file NAME.toml, NAME.md or "
        "NAME.txt of the directory that `oblix templates path` prints."
    )
    add_json(parser)
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND")
    add_json(actions.add_parser("list", help="list the templates (the default)"), is_default=False)
    show = actions.add_parser("show", help="print one template")
    show.add_argument("name", metavar="NAME")
    add_json(show, is_default=False)
    show.set_defaults(run=_show)
    edit = actions.add_parser("edit", help="open a template's file in $VISUAL or $EDITOR, a new one, too")
    edit.add_argument("name", metavar="NAME")
    edit.set_defaults(run=_edit)
    actions.add_parser("path", help="print the directory of template files").set_defaults(run=_path)


def _list(arguments: argparse.Namespace) -> None:
    templates = preferences.load().templates
    if arguments.json:
        tables.show_json({name: template._asdict() for name, template in templates.items()})
        return
    if not templates:
        answers.note("oblix: there is no template yet. `oblix templates edit NAME` makes one.")
        return
    rows = [
        {
            "name": name,
            "variables": " ".join(template.variables()) or "-",
            "title": template.description or template.prompt,
        }
        for name, template in sorted(templates.items())
    ]
    tables.show_rows(rows, COLUMNS)


def _show(arguments: argparse.Namespace) -> None:
    template = preferences.load().template(arguments.name)
    if arguments.json:
        tables.show_json(template._asdict())
        return
    for name, value in template._asdict().items():
        if value and name not in {"prompt", "defaults"}:
            print(f"{name}: {value}")
    for name, value in template.defaults.items():
        print(f"default: {name}={value}")
    print(template.prompt)


def _edit(arguments: argparse.Namespace) -> int:
    path = preferences.templates_path() / f"{arguments.name}.toml"
    if "/" in arguments.name or arguments.name.startswith("."):
        raise CommandError(f"{arguments.name} is no name of a template.")
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(NEW.format(name=arguments.name), "utf-8")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    code = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
    preferences.load()  # says what is wrong with it
    return code


def _path(_: argparse.Namespace) -> None:
    print(preferences.templates_path())
