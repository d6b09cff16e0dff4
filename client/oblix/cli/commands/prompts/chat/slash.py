"""The commands of a chat: words that begin with a slash. Everything else is said to the model."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from oblix._convert.terminal_text import DIM, PLAIN
from oblix.cli.commands.prompts.chat.conversation import AUTO, Conversation
from oblix.cli.errors import CommandError
from oblix.cli.output import answers, clipboard, tables
from oblix.cli.parser import suggestion
from oblix.formats import catalog

ENDS = frozenset({"exit", "quit", "/exit", "/quit", "/bye"})
HITS = 5
KEYS = """Enter sends; Alt-Enter, or a backslash at a line's end, begins another line; a paste is one prompt.
Up and Ctrl-R look through what you said in all chats. Tab completes commands, models and files.
Ctrl-C cancels the answer; twice, it ends the chat, as /exit and Ctrl-D do.
Write a prompt that begins with a slash with two: //etc is a directory?"""


class Command(NamedTuple):
    """What a word does."""

    run: Callable[[Conversation, str], Awaitable[None]]
    usage: str
    """What may follow the word."""
    summary: str


async def obey(conversation: Conversation, line: str) -> bool:
    """Do what was said, and tell whether the chat goes on. Raises CommandError and OblixError."""
    if line in ENDS:
        return False
    if line.startswith("//"):
        await conversation.send(line[1:])
    elif line.startswith("/") or line == "?":
        word, _, rest = line.partition(" ")
        await _command(word).run(conversation, rest.strip())
    else:
        await conversation.send(line)
    return True


def _command(word: str) -> Command:
    if word in COMMANDS:
        return COMMANDS[word]
    near = suggestion(word, COMMANDS)
    raise CommandError(f"there is no {word}.{near} /help lists what there is; //... says it to the model.")


async def _help(_: Conversation, __: str) -> None:
    shown = {name: command for name, command in COMMANDS.items() if command.summary}
    uses = {f"{name} {command.usage}": command.summary for name, command in shown.items()}
    uses["/exit"] = "end the chat"
    answers.note("\n".join([*tables.definitions(uses), "", *tables.wrap_words(KEYS)]))


async def _new(conversation: Conversation, _: str) -> None:
    conversation.begin_anew()
    _say("the next prompt begins a new session")


async def _model(conversation: Conversation, name: str) -> None:
    if not name:
        _say(f"there are {', '.join(conversation.model_names())}")
    else:
        await conversation.choose(name)
    _say(f"model: {conversation.model or 'chosen by routing'}")


async def _system(conversation: Conversation, text: str) -> None:
    if text:
        conversation.instruct(text)
    _say(f"system message: {conversation.system or 'none'}")


async def _file(conversation: Conversation, path: str) -> None:
    if not path:
        raise CommandError("/file wants a file: text, PDF or an image.")
    conversation.attach(_unquote(path))
    _say(f"{path} goes with your next prompt")


async def _retry(conversation: Conversation, _: str) -> None:
    await conversation.retry()


async def _undo(conversation: Conversation, _: str) -> None:
    _say(f"taken out: {tables.cut(conversation.undo(), 60)}")


async def _edit(conversation: Conversation, _: str) -> None:
    conversation.edit()


async def _fork(conversation: Conversation, _: str) -> None:
    _say(f"this goes on in a copy, session {await conversation.fork()}")


async def _search(conversation: Conversation, words: str) -> None:
    if not words:
        raise CommandError("/search wants words that messages have.")
    hits = conversation.client.search_messages(words, HITS)
    if not hits:
        _say(f"nothing was found for {words}")
    for hit in hits:
        answers.note(f"{DIM}{hit['session_id']} {tables.local_time(hit['timestamp'])} {hit['title']}{PLAIN}")
        answers.note(f"  {tables.cell(hit['snippet'])}")


async def _explain(conversation: Conversation, _: str) -> None:
    if conversation.completed is None:
        raise CommandError("there is no answer yet.")
    answers.note(answers.full_report(conversation.completed).lstrip("\n"))
    for model, reason in conversation.completed.candidates:
        answers.note(f"{DIM}{model}: {reason}{PLAIN}")


async def _save(conversation: Conversation, path: str) -> None:
    if not path:
        raise CommandError("/save wants a file: its ending says how, .md, .html, .json or .jsonl.")
    target = _expand(path)
    if target.exists() and target not in conversation.saved_files:
        raise CommandError(f"{target} exists already, and /save would replace it: give another name.")
    format_ = catalog.SUFFIXES.get(target.suffix.lower(), "markdown")
    await conversation.client.export_sessions([conversation.kept_id()], target, format_)
    conversation.saved_files.add(target)
    _say(f"the conversation is in {target}")


async def _copy(conversation: Conversation, what: str) -> None:
    text = conversation.answer
    if what == "code":
        text = clipboard.first_code_block(text) or ""
        if not text:
            raise CommandError("the answer has no code block.")
    clipboard.copy(text)
    _say(f"{tables.count_text(len(text), 'character')} are in the clipboard")


async def _cost(conversation: Conversation, _: str) -> None:
    report = conversation.client.usage("model", session_id=conversation.kept_id())
    for row in report.rows:
        paid = f"{row['cost']:.4f} {report.currency}" if row["cost"] else "free"
        cost = "no price known" if row["unpriced_executions"] else paid
        tokens = f"{row['input_tokens']:,} tokens in, {row['output_tokens']:,} out"
        _say(f"{row['key']}: {tables.count_text(row['executions'], 'answer')}, {tokens}, {cost}")
    if not report.rows:
        _say("nothing was used yet")


async def _metrics(conversation: Conversation, _: str) -> None:
    machine = await conversation.client.get_resource_metrics()
    network = await conversation.client.get_connectivity_metrics()
    for name, values in (("machine", machine), ("network", network)):
        shown = [f"{key} {value:g}" for key, value in values.items() if isinstance(value, float)]
        _say(f"{name}: {values['state']}; {', '.join(shown) or 'not measured yet'}")


async def _status(_: Conversation, __: str) -> None:
    from oblix.cli.commands.service import status

    status.run(Namespace(socket=False, json=False))


def _route(policy: str | None, meaning: str) -> Callable[[Conversation, str], Awaitable[None]]:
    async def choose(conversation: Conversation, _: str) -> None:
        conversation.policy = policy
        await conversation.choose(AUTO)
        _say(meaning)

    return choose


def _expand(path: str) -> Path:
    return Path(_unquote(path)).expanduser()


def _unquote(path: str) -> str:
    """Return a path without the quotes that terminals put around one that is dropped on them."""
    return re.sub(r"""^(['"])(.+)\1$""", r"\2", path)


def _say(text: str) -> None:
    answers.note(f"{DIM}[{text}]{PLAIN}")


COMMANDS = {
    "/help": Command(_help, "", "show this"),
    "/new": Command(_new, "", "begin a new session"),
    "/model": Command(_model, "[NAME|auto]", "show or choose the model that answers"),
    "/system": Command(_system, "[TEXT]", "show or change the system message"),
    "/file": Command(_file, "FILE", "send a file with the next prompt: text, PDF or an image"),
    "/image": Command(_file, "FILE", "the same, for an image"),
    "/retry": Command(_retry, "", "answer the last question again; the old answer is kept as a version"),
    "/undo": Command(_undo, "", "remove the last question and its answer"),
    "/edit": Command(_edit, "", "edit the last question, and ask it again"),
    "/fork": Command(_fork, "", "continue in a copy of the session"),
    "/search": Command(_search, "WORDS", "find messages in all conversations"),
    "/explain": Command(_explain, "", "explain why this model answered"),
    "/save": Command(_save, "FILE", "write the conversation to a file: .md, .html, .json, .jsonl"),
    "/copy": Command(_copy, "[code]", "copy the last answer, or its first code block"),
    "/cost": Command(_cost, "", "show the usage and the cost of this session"),
    "/edge": Command(_route("prefer-local", "local models go first"), "", "prefer models on this machine"),
    "/cloud": Command(_route("prefer-cloud", "cloud models go first"), "", "prefer cloud models"),
    "/metrics": Command(_metrics, "", "show what is measured of machine and network"),
    "/status": Command(_status, "", "show the daemon and its models"),
    "?": Command(_help, "", ""),
    "/?": Command(_help, "", ""),
}
NAMES = {name: command.summary for name, command in COMMANDS.items() if command.summary} | {
    "/exit": "end the chat"
}
"""What Tab completes, each with what it does."""
