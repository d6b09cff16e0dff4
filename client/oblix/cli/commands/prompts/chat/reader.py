"""Reads what a person says: with a line editor on a terminal, else a line of standard input at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from oblix._launcher import paths
from oblix.cli.keyboard import keyboard

if TYPE_CHECKING:
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings

HISTORY = "chat-history"
PROMPT, CONTINUATION = "> ", "… "
_OF_FILES = ("/file ", "/image ", "/save ")
_OF_MODELS = "/model "


class EndOfInput(Exception):  # noqa: N818 - it is no failure
    """Nothing more comes: Ctrl-D, or the end of standard input."""


class LineDropped(Exception):  # noqa: N818 - it is no failure
    """Ctrl-C: what was typed is dropped."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.text = text
        """What was typed."""


class Reader(Protocol):
    """Where prompts come from."""

    is_terminal: bool

    def read(self, draft: str = "") -> str:
        """Return what is said next; `draft` stands there already. Raises EndOfInput and LineDropped."""


class Lines:
    """A line of standard input at a time."""

    is_terminal = False

    def read(self, draft: str = "") -> str:
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            raise LineDropped from None
        if not line:
            raise EndOfInput
        return line.strip()


class Editor:
    """A line editor: several lines, pastes in one piece, a history over all chats, completion."""

    is_terminal = True

    def __init__(self, words: Mapping[str, str], models: Callable[[], list[str]]) -> None:
        # Asking terminals where the cursor is leaves marks on slow connections.
        os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")
        from prompt_toolkit import PromptSession
        from prompt_toolkit.shortcuts import CompleteStyle

        self._session: Any = PromptSession(
            history=_history(),
            completer=_completer(words, models),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            key_bindings=_bindings(),
            multiline=True,
            prompt_continuation=CONTINUATION,
            reserve_space_for_menu=0,
            enable_suspend=True,
        )

    def read(self, draft: str = "") -> str:
        try:
            return str(self._session.prompt(PROMPT, default=draft)).strip()
        except EOFError:
            raise EndOfInput from None
        except KeyboardInterrupt:
            raise LineDropped(self._session.default_buffer.text) from None
        finally:
            keyboard.mark_pastes()


def reader_for(words: Mapping[str, str], models: Callable[[], list[str]]) -> Reader:
    """Return the line editor on a terminal, else lines. `words`: the commands, each with what it does."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return Editor(words, models)
    return Lines()


def _bindings() -> KeyBindings:
    """Enter sends, unless the line ends with a backslash; Alt-Enter begins another line."""
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: Any) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    @bindings.add("escape", "c-j")
    def _(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


def _history() -> History:
    """Return what was said in all chats. Where nothing can be written it is that of this chat."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    try:
        path = paths.log_path().with_name(HISTORY)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except (OSError, paths.PathError):
        return InMemoryHistory()
    return FileHistory(os.fspath(path))


def _completer(words: Mapping[str, str], models: Callable[[], list[str]]) -> Any:
    from prompt_toolkit.completion import Completer, Completion, PathCompleter
    from prompt_toolkit.document import Document

    files = PathCompleter(expanduser=True)

    class OfChat(Completer):
        """Completes commands, and after some of them models and files."""

        def get_completions(self, document: Document, complete_event: Any) -> Iterable[Completion]:
            text = document.text_before_cursor
            if text.startswith(_OF_MODELS):
                yield from _beginning_with(text.removeprefix(_OF_MODELS), models())
            elif text.startswith(_OF_FILES):
                rest = text.partition(" ")[2]
                yield from files.get_completions(Document(rest), complete_event)
            elif text.startswith("/") and " " not in text:
                yield from _beginning_with(text, words)

    def _beginning_with(start: str, candidates: Iterable[str]) -> Iterable[Completion]:
        for word in candidates:
            if word.startswith(start):
                yield Completion(word, start_position=-len(start), display_meta=words.get(word, ""))

    return OfChat()
