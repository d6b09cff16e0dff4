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
    "attach": Command(
        PROMPTS, "prompts.attach", "print an answer that runs in the daemon, or that has ended"
    ),
    "templates": Command(
        PROMPTS, "prompts.templates", "list, show and write the prompts of `ask --template`"
    ),
    "docs": Command(PROMPTS, "prompts.docs", "add documents, and find passages in them: `ask --docs`"),
    "ps": Command(PROMPTS, "prompts.ps", "list the answers that wait, run, or ended in the last ten minutes"),
    "cancel": Command(PROMPTS, "prompts.cancel", "cancel answers that run or wait"),
    "explain": Command(
        PROMPTS, "prompts.explain", "explain where a prompt would go, or where those of a session went"
    ),
    "sessions": Command(
        SESSIONS, "sessions.listing", "find, read, organize, export and import conversations"
    ),
    "search": Command(SESSIONS, "sessions.find", "find messages and titles: short for `sessions search`"),
    "import": Command(
        SESSIONS, "sessions.importing", "import the conversations of other tools on this machine"
    ),
    "follow": Command(SESSIONS, "sessions.follow", "print the messages of a session as they arrive"),
    "backup": Command(SESSIONS, "sessions.backup", "write all conversations to a backup file"),
    "models": Command(MODELS, "models.listing", "list, find, add and test models"),
    "usage": Command(MODELS, "service.usage", "show what was used, and what it cost"),
    "agents": Command(MODELS, "service.agents", "show what decides where a prompt goes"),
    "server": Command(
        TOOLS,
        "tools.server",
        "open the HTTP endpoint: the APIs of OpenAI, Anthropic and Ollama",
    ),
    "connect": Command(
        TOOLS, "tools.connect", "connect a tool to the endpoint: a token, and the tool's settings"
    ),
    "tokens": Command(
        TOOLS, "tools.tokens", "list, create and revoke tokens for programs that use TCP or HTTP"
    ),
    "run": Command(TOOLS, "tools.run", "start a tool that is connected, without writing its settings"),
    "acp": Command(TOOLS, "tools.acp", "serve an editor by the Agent Client Protocol"),
    "mcp": Command(TOOLS, "tools.mcp", "serve conversations to an agent by the Model Context Protocol"),
    "protos": Command(
        TOOLS, "tools.protos", "write the gRPC contract as a descriptor set, for other languages"
    ),
    "completion": Command(
        TOOLS, "tools.completion", "print the code for completion in a shell, or the manual page"
    ),
    "status": Command(DAEMON, "service.status", "show the daemon, its models and this machine"),
    "doctor": Command(DAEMON, "service.doctor", "find problems of this installation, and how to solve them"),
    "metrics": Command(
        DAEMON, "service.metrics", "print the daemon's numbers in the text format of Prometheus"
    ),
    "top": Command(DAEMON, "service.top", "watch the machine, the models and the running answers"),
    "plot": Command(DAEMON, "service.plot", "write a chart of the last minutes: load, network, routing"),
    "config": Command(DAEMON, "service.config", "show and change the settings of the daemon"),
    "reload": Command(DAEMON, "service.reload", "reload the configuration of the daemon"),
    "service": Command(
        DAEMON, "service.unit", "start the daemon at each login, supervised by the service manager"
    ),
    "restart": Command(DAEMON, "service.restart", "stop the daemon, and start the installed version"),
    "stop": Command(DAEMON, "service.stop", "stop the daemon when its running answers have ended"),
}
FIRST_STEPS = """Oblix: talk to language models, local or cloud, through one shared daemon.
`obx` is a shorter name of `oblix`.

  oblix "Why is the sky blue?"         ask a question: short for oblix ask
  git diff | oblix "Review this:"      ask about what a program prints
  oblix chat                           talk; /help there shows what it can do
  oblix sessions list                  list the conversations; all are kept

  oblix models                         the models that answer now
  oblix models discover                find servers and model files here
  oblix models add ollama:llama3.2     use one of them (oblix models add --help)
  oblix import                         import conversations of other tools

`oblix help` lists every command, `oblix COMMAND --help` its options."""
ENDING = """examples:
  oblix ask --last "And in one sentence?"
  oblix search "heat pump"
  oblix explain "Why is the sky blue?"

`oblix COMMAND --help` or `oblix help COMMAND` shows a command's options.
exit codes: 0 success, 1 failure (one line on standard error says why),
2 wrong usage, 130 interrupted by Ctrl-C, 141 the reader of the output has gone"""
USAGE = """usage: oblix COMMAND ...
       oblix --debug COMMAND ...   shows also where an error came from
       oblix --version"""
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


def parser_with(command_name: str) -> Parser:
    """Return the parser of the whole line. Of the commands only the wanted one has its arguments."""
    root = Parser(prog="oblix")
    groups = root.add_subparsers(metavar="COMMAND")
    for name, command in COMMANDS.items():
        parser = groups.add_parser(name, help=command.summary)
        if name == command_name:
            importlib.import_module(f"oblix.cli.commands.{command.module}").configure(parser)
    return root


def overview() -> str:
    """Return every command with its summary, by kind."""
    blocks = [USAGE]
    for group in GROUPS:
        lines = [
            f"  {name:<{WIDTH}}{command.summary}"
            for name, command in COMMANDS.items()
            if command.group == group
        ]
        blocks.append("\n".join([f"{group}:", *lines]))
    return "\n\n".join([*blocks, ENDING])
