"""`oblix ask`: one question, one answer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from oblix.cli import preferences
from oblix.cli.errors import CommandError
from oblix.cli.options import models, ranges, session_ids
from oblix.cli.output import answers, hints, screens, tables, wording
from oblix.cli.output.events import Completion
from oblix.cli.preferences import Template
from oblix.cli.prompting import asking
from oblix.cli.prompting.asking import Asking, Options
from oblix.cli.prompting.direct_client import DirectClient
from oblix.errors import OblixError

if TYPE_CHECKING:
    from oblix.cli.prompting.attachments import Attachments
    from oblix.cli.prompting.toolbox import Toolbox
    from oblix.documents import Library, Passage

EXAMPLES = """examples:
  oblix ask "Why is the sky blue?"
  oblix ask -c "And in one sentence?"
  git diff | oblix ask "Review this:"
  oblix ask -f report.pdf -f photo.jpg "What do both say?"
  oblix ask -t review -p audience="a colleague" -f change.patch
  oblix ask -x "A Python function that reverses a string" > reverse.py
  oblix ask --schema "name: str, age: int" "Invent a person"
  oblix ask --tools weather.py "Do I need an umbrella in Bern?"
  oblix attach "$(oblix ask --detach --background "Tell me a long story.")"

The answer goes to standard output as it arrives, and a line about it to standard error."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "words",
        nargs="*",
        metavar="PROMPT",
        help="the question; - stands for standard input, which also follows a final colon",
    )
    _configure_prompt(parser.add_argument_group("what is asked"))
    _configure_session(parser.add_argument_group("where it is kept"))
    where = parser.add_argument_group("which model answers")
    models.add_model(where)
    models.add_policy(where)
    where.add_argument("--local-only", action="store_true", help="let no cloud model see it")
    _configure_answer(parser.add_argument_group("how it is answered"))
    _configure_waiting(parser.add_argument_group("when"))
    _configure_output(parser.add_argument_group("what is shown"))
    parser.set_defaults(run=run)


def _configure_prompt(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-s", "--system", metavar="TEXT", help="the system message")
    group.add_argument(
        "-t", "--template", metavar="NAME", help="a prompt of the configuration; `oblix templates` lists them"
    )
    group.add_argument(
        "-p",
        "--param",
        dest="params",
        action="append",
        default=[],
        type=_param,
        metavar="NAME=VALUE",
        help="a variable of the template; may be repeated",
    )
    group.add_argument(
        "-f",
        "--file",
        dest="files",
        action="append",
        default=[],
        metavar="FILE",
        help="send a file along: text, PDF or an image; - is standard input; may be repeated",
    )
    group.add_argument(
        "--docs",
        metavar="LIBRARY",
        help="quote passages of this library that fit the question, and cite them; see `oblix docs`",
    )
    group.add_argument(
        "--image", dest="images", metavar="FILE", action="append", help="send an image along; may be repeated"
    )


def _configure_session(group: argparse._ArgumentGroup) -> None:
    session = group.add_mutually_exclusive_group()
    session.add_argument("--session", metavar="ID", type=session_ids.SessionName, help=session_ids.HELP)
    session.add_argument(
        "-c",
        "--continue",
        "--last",
        dest="last",
        action="store_true",
        help="continue the session that changed last",
    )
    session.add_argument("--new", action="store_true", help="begin a new session (the default)")
    session.add_argument("-n", "--no-session", action="store_true", help="record nothing")


def _configure_answer(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--schema",
        metavar="SCHEMA",
        help="make the answer JSON: a file with a JSON Schema, or fields as in "
        "'name: str, age: int, tags: [str]'",
    )
    group.add_argument(
        "-T",
        "--tools",
        action="append",
        default=[],
        metavar="FILE.py",
        help="let the model call the functions of this file, which run here; may be repeated",
    )
    group.add_argument(
        "--max-tokens",
        metavar="N",
        type=ranges.max_tokens,
        help="the most that the model may write: 1 to 1,000,000",
    )
    group.add_argument(
        "--temperature", metavar="X", type=ranges.temperature, help="0 (least random) to 2 (most random)"
    )
    group.add_argument(
        "--reasoning",
        choices=["off", "on", "low", "medium", "high", "max"],
        metavar="HOW",
        help="how much the model reasons before it answers: off, on, low, medium, high or max "
        "(default: its server decides)",
    )


def _configure_waiting(group: argparse._ArgumentGroup) -> None:
    order = group.add_mutually_exclusive_group()
    order.add_argument(
        "--priority",
        choices=["interactive", "background"],
        default="interactive",
        help="whether it goes before or after others that wait for the same model (default: %(default)s)",
    )
    order.add_argument(
        "--background",
        dest="priority",
        action="store_const",
        const="background",
        help="short for --priority background",
    )
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=ranges.timeout,
        help="the longest time it may take, waiting included: at most a day",
    )
    group.add_argument(
        "--detach",
        action="store_true",
        help="print the request's id and exit; the daemon continues, see `oblix attach`",
    )


def _configure_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-x", "--extract", action="store_true", help="print only the first code block of the answer"
    )
    group.add_argument("--copy", action="store_true", help="also copy the output to the clipboard")
    group.add_argument(
        "-v", "--verbose", action="store_true", help="print why this model answered, and the session's id"
    )
    group.add_argument("--json", action="store_true", help="print the whole response as JSON at the end")
    group.add_argument("--no-metrics", action="store_true", help="print the answer and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print the answer, or the request's id where it is detached."""
    asked = _asking(arguments)
    if arguments.detach and asked.tools:
        raise CommandError("the functions of --tools run in this command: leave --detach out.")
    with closing(DirectClient()) as client:
        turn = asking.begin(client, asked, arguments)
        try:
            if arguments.detach:
                return _detach(turn, arguments)
            completed = _answer(turn, arguments)
        except OblixError as error:
            turn.discard(error)
            raise
    code = _finish(completed, arguments)
    if not (arguments.json or arguments.no_metrics):
        _tell_about(completed, asked.passages)
    return code


def _answer(turn: asking.Turn, arguments: argparse.Namespace) -> Completion:
    # What is printed at the end has the line about it behind it, too.
    summary = None if arguments.extract else _summary(arguments)
    shown = screens.Silent() if arguments.extract else screens.Text()
    screen = None if arguments.json else shown
    try:
        return answers.complete(turn.answer(screen, summary))
    except KeyboardInterrupt:
        answers.note(f"\n{turn.recorded.cancelled_text()}")
        raise


def _summary(arguments: argparse.Namespace) -> answers.Summary | None:
    if arguments.json or arguments.no_metrics:
        return None
    return answers.full_report if arguments.verbose else answers.in_line


def _detach(turn: asking.Turn, arguments: argparse.Namespace) -> int:
    # Once it has begun, or waits, it goes on without this command.
    answers.complete(turn.events().__anext__())
    print(turn.request_id)
    if turn.session_id and not arguments.no_metrics:
        answers.note(f"session  {turn.session_id}")
    return 0


def _tell_about(completion: Completion, passages: Sequence[Passage]) -> None:
    if passages:
        from oblix.cli.prompting import reading

        reading.tell_sources(completion.text, passages)
    hints.about_model(completion.model)
    hints.about_unread_input()


def _finish(completion: Completion, arguments: argparse.Namespace) -> int:
    text = completion.text
    if arguments.extract:
        text = _code(text)
        print(text, end="" if text.endswith("\n") else "\n", flush=True)
        if summary := _summary(arguments):
            answers.note(summary(completion))
    if arguments.copy:
        from oblix.cli.output import clipboard

        clipboard.copy(text)
    if arguments.json:
        tables.show_json(completion.response() | {"session_id": completion.session_id})
    if completion.schema_violation:
        answers.note(f"oblix: the answer does not fit the schema: {completion.schema_violation}")
        return 1
    return 0


def _code(text: str) -> str:
    from oblix.cli.output import clipboard

    found = clipboard.first_code_block(text)
    if found is None:
        raise CommandError("the answer has no code block. `oblix sessions view @1` shows it, if it was kept.")
    return found


def _asking(arguments: argparse.Namespace) -> Asking:
    """Return what is asked, by the options, then the template, then the defaults of the configuration."""
    chosen = preferences.load()
    template = chosen.template(arguments.template) if arguments.template else None
    if arguments.params and template is None:
        raise CommandError("-p gives a variable to a template: name it with -t.")
    files = _files(arguments.files) if arguments.files else None
    images = [*(files.images if files else ()), *(wording.image(path) for path in arguments.images or ())]
    is_given = bool(images or template or (files and files.texts))
    said = wording.question(arguments.words, required=not is_given)
    of_template = template or Template()
    schema = arguments.schema or of_template.schema
    is_new = not (arguments.last or arguments.session)
    prompt = of_template.fill(said, dict(arguments.params)) if template else said
    prompt = files.before(prompt) if files else prompt
    library, found = _passages(arguments.docs, said or prompt) if arguments.docs else (None, [])
    return Asking(
        prompt=_quote(prompt, found) if library else prompt,
        passages=found,
        title=said or arguments.template or (arguments.files or ["image"])[0],
        system=arguments.system or of_template.system or (chosen.system if is_new else None),
        model=arguments.model or of_template.model or chosen.model,
        policy=arguments.policy or of_template.policy or chosen.policy,
        session_id="@1" if arguments.last else arguments.session,
        images=images,
        schema=_schema(schema) if schema else None,
        tools=_tools(arguments.tools) if arguments.tools else None,
        is_kept=not arguments.no_session,
        options=_options(arguments, is_local_only=library is not None and library.is_local_only),
    )


def _files(paths: list[str]) -> Attachments:
    from oblix.cli.prompting import attachments

    return attachments.read(paths)


def _passages(name: str, question: str) -> tuple[Library, list[Passage]]:
    from oblix.cli.prompting import reading

    library = reading.library(name)
    return library, reading.passages(library, question)


def _quote(prompt: str, passages: Sequence[Passage]) -> str:
    from oblix.cli.prompting import reading

    return reading.quote(prompt, passages)


def _schema(text: str) -> dict[str, Any]:
    from oblix.cli.prompting import schemas

    return schemas.schema_of(text)


def _tools(paths: list[str]) -> Toolbox:
    from oblix.cli.prompting import toolbox

    return toolbox.load(paths)


def _options(arguments: argparse.Namespace, *, is_local_only: bool) -> Options:
    return Options(
        temperature=arguments.temperature,
        max_tokens=arguments.max_tokens,
        reasoning=arguments.reasoning,
        # Documents that are local-only stay so in the session that quotes them.
        is_local_only=arguments.local_only or is_local_only,
        is_background=arguments.priority == "background",
        timeout_s=arguments.timeout,
        is_detached=arguments.detach,
    )


def _param(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
