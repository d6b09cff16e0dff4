"""The commands of `oblix`: who adds one writes a module under `oblix.cli.commands` and a line here.

What `oblix` and `oblix help` print comes from the same table.
"""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Sequence
from typing import NamedTuple

from oblix.cli.parser import IncompleteError, Parser, PartialParser


class Command(NamedTuple):
    """A command's module, and what `oblix help` says of it.

    The module has `configure(parser)`, which declares the arguments and sets `run` as the parser's default:
    `run(arguments)` does the work and returns an exit code, or None for 0.
    """

    group: str
    """The heading that it stands under in `oblix help`."""
    module: str
    """Below `oblix.cli.commands`."""
    summary: str


PROMPTS, SESSIONS, MODELS = "Ask and talk", "Conversations", "Models"
TOOLS, DAEMON = "Other programs", "The daemon and this machine"
GROUPS = (PROMPTS, SESSIONS, MODELS, TOOLS, DAEMON)
COMMANDS = {
    "ask": Command(PROMPTS, "prompts.ask", "ask a model one question"),
    "chat": Command(PROMPTS, "prompts.chat", "talk with a model at the terminal"),
    "attach": Command(PROMPTS, "prompts.attach", "go on with an answer that runs or ended in the daemon"),
    "templates": Command(
        PROMPTS, "prompts.templates", "list, show and write the prompts of `ask --template`"
    ),
    "docs": Command(PROMPTS, "prompts.docs", "take in documents, and find passages in them: `ask --docs`"),
    "ps": Command(PROMPTS, "prompts.ps", "list the answers that wait, run, or ended lately"),
    "cancel": Command(PROMPTS, "prompts.cancel", "end answers that run or wait"),
    "explain": Command(
        PROMPTS, "prompts.explain", "tell where a prompt would go, or a session's prompts went, and why"
    ),
    "sessions": Command(
        SESSIONS, "sessions.listing", "find, read, keep in order, export and import conversations"
    ),
    "search": Command(SESSIONS, "sessions.find", "find what was said: short for `sessions search`"),
    "import": Command(
        SESSIONS, "sessions.importing", "take in the conversations that other tools keep on this machine"
    ),
    "follow": Command(SESSIONS, "sessions.follow", "print what is said in a session, as it is said"),
    "backup": Command(SESSIONS, "sessions.backup", "write everything that the daemon keeps to a file"),
    "models": Command(MODELS, "models.listing", "list, find, add and test models"),
    "usage": Command(MODELS, "service.usage", "show what was used, and what it cost"),
    "agents": Command(MODELS, "service.agents", "show what decides where a prompt goes"),
    "server": Command(
        TOOLS,
        "tools.server",
        "open the HTTP endpoint for tools that speak OpenAI's, Anthropic's or Ollama's APIs",
    ),
    "connect": Command(
        TOOLS, "tools.connect", "make a token and the settings by which such a tool finds the endpoint"
    ),
    "tokens": Command(
        TOOLS, "tools.tokens", "list, make and revoke the tokens of programs that call over TCP or HTTP"
    ),
    "run": Command(TOOLS, "tools.run", "start such a tool with its settings, and write nothing"),
    "acp": Command(TOOLS, "tools.acp", "be an agent for an editor: the Agent Client Protocol"),
    "mcp": Command(TOOLS, "tools.mcp", "show an agent your conversations: the Model Context Protocol"),
    "protos": Command(
        TOOLS, "tools.protos", "write the contract as a descriptor set, for programs of other languages"
    ),
    "completion": Command(
        TOOLS, "tools.completion", "print what a shell runs so that Tab completes, or the manual page"
    ),
    "status": Command(DAEMON, "service.status", "show the daemon, its models and this machine"),
    "doctor": Command(
        DAEMON, "service.doctor", "find what is wrong with this installation, and how to mend it"
    ),
    "metrics": Command(
        DAEMON, "service.metrics", "print the daemon's numbers in the text format of Prometheus"
    ),
    "top": Command(DAEMON, "service.top", "watch the machine, the models and the running executions"),
    "plot": Command(
        DAEMON, "service.plot", "draw a picture of the last minutes: load, network, where prompts went"
    ),
    "config": Command(DAEMON, "service.config", "show the daemon's settings, and change them"),
    "reload": Command(DAEMON, "service.reload", "have the daemon read its configuration again"),
    "service": Command(
        DAEMON, "service.unit", "have the daemon run from login on, watched by the service manager"
    ),
    "restart": Command(DAEMON, "service.restart", "end the daemon, and start the version that is installed"),
    "stop": Command(DAEMON, "service.stop", "let the daemon finish what it does, and end it"),
}
FIRST_STEPS = """Oblix: talk to language models, local or cloud, through one daemon that your programs share.
`obx` is `oblix` for fingers in a hurry.

  oblix "Why is the sky blue?"         ask a question: short for oblix ask
  git diff | oblix "Review this:"      ask about what a program prints
  oblix chat                           talk; /help there shows what it can do
  oblix sessions list                  read what was said; it is kept

  oblix models                         the models that answer now
  oblix models discover                find servers and model files on this machine
  oblix models add ollama:llama3.2     use one of them (oblix models add --help)
  oblix import                         take in conversations of other tools

`oblix help` lists every command, `oblix COMMAND --help` its options."""
ENDING = """examples:
  oblix ask --last "And in one sentence?"
  oblix sessions search "heat pump"
  oblix explain "Why is the sky blue?"

`oblix COMMAND --help` or `oblix help COMMAND` shows a command's options.
exit codes: 0 done, 1 it failed (one line on standard error says why), 2 wrong usage,
130 interrupted by Ctrl-C, 141 whoever read our output has gone"""
WIDTH = 12


def parser_of(name: str) -> Parser:
    """Return the parser of one command. Its modules are loaded, and nothing of the others."""
    return _configure(Parser(**_about(name)), name)


def parse(name: str, words: Sequence[str]) -> Namespace:
    """Read the words after a command's name. Only the subcommand that they name is loaded.

    Wrong usage raises SystemExit(2), as argparse does.
    """
    parser = PartialParser(**_about(name))
    parser.words = words
    try:
        _configure(parser, name)
        return parser.take()
    except IncompleteError:
        return parser_of(name).parse_args(words)


def _about(name: str) -> dict[str, str]:
    summary = COMMANDS[name].summary
    return {"prog": f"oblix {name}", "description": f"{summary[0].upper()}{summary[1:]}."}


def _configure(parser: Parser, name: str) -> Parser:
    importlib.import_module(f"oblix.cli.commands.{COMMANDS[name].module}").configure(parser)
    return parser


def parser_with(wanted: str) -> Parser:
    """Return the parser of the whole line. Of the commands only the wanted one has its arguments."""
    root = Parser(prog="oblix")
    groups = root.add_subparsers(metavar="COMMAND")
    for name, command in COMMANDS.items():
        parser = groups.add_parser(name, help=command.summary)
        if name == wanted:
            importlib.import_module(f"oblix.cli.commands.{command.module}").configure(parser)
    return root


def overview() -> str:
    """Return every command with its summary, by kind."""
    blocks = ["usage: oblix COMMAND ...\n       oblix --version"]
    for group in GROUPS:
        lines = [
            f"  {name:<{WIDTH}}{command.summary}"
            for name, command in COMMANDS.items()
            if command.group == group
        ]
        blocks.append("\n".join([f"{group}:", *lines]))
    return "\n\n".join([*blocks, ENDING])
