"""What sessions hold, as a test keeps it in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass
class ModelMessage:
    """A message as the model knows it: its place, its text, when it was said."""

    place: int
    text: str
    time: int
    is_answer: bool = False
    version: int = 0
    older: list[str] = field(default_factory=list)
    """What it said before, newest first."""

    def revise(self, text: str) -> None:
        """A new version."""
        self.older, self.text, self.version = [self.text, *self.older], text, self.version + 1

    def copy_to(self, place: int) -> ModelMessage:
        """The same in another session, without its older versions."""
        return replace(self, place=place, older=[])


@dataclass
class Model:
    """A session as the model knows it."""

    title: str
    metadata: dict[str, Any]
    updated: int
    messages: list[ModelMessage] = field(default_factory=list)
    next_place: int = 1
    archived: bool = False
    answer: ModelMessage | None = None
    """The running turn's answer: its place, and its text as far as it was checkpointed."""
    replaced: ModelMessage | None = None
    """The answer that the running one is to replace."""

    def say(self, texts: list[str], time: int) -> None:
        for text in texts:
            self.messages.append(ModelMessage(self.next_place, text, time))
            self.next_place += 1
        self.updated = time

    def all(self) -> list[ModelMessage]:
        begun = [self.answer] if self.answer is not None and self.answer.time else []
        return sorted([*self.messages, *begun], key=lambda said: said.place)

    def texts(self) -> list[str]:
        return [said.text for said in self.all()]

    def last_question(self) -> list[ModelMessage]:
        """The question that would be answered anew: what was said last, before the answer to it."""
        said = self.messages[:-1] if self.messages and self.messages[-1].is_answer else self.messages
        answers = [at for at, message in enumerate(said) if message.is_answer]
        return said[answers[-1] + 1 :] if answers else list(said)

    def ask(self, texts: list[str], time: int) -> None:
        """A turn begins."""
        self.say(texts, time)
        self._wait_for_answer(self.next_place)

    def ask_again(self, time: int) -> None:
        """A turn begins that answers the last question anew."""
        self.updated = time
        if self.messages[-1].is_answer:
            self.replaced = self.messages.pop()
            self.answer = ModelMessage(self.replaced.place, "", 0, is_answer=True)
        else:
            self._wait_for_answer(self.next_place)

    def _wait_for_answer(self, place: int) -> None:
        self.answer = ModelMessage(place, "", 0, is_answer=True)
        self.next_place += 1

    def end(self, text: str | None, time: int) -> None:
        """The turn ends with an answer, or without: then the one that was to be replaced is back."""
        assert self.answer is not None
        answer, old = self.answer, self.replaced
        if text is not None:
            answer.text, answer.time = text, answer.time or time
            if old is not None:
                answer.version, answer.older = old.version + 1, [old.text, *old.older]
            self.messages.append(answer)
        elif old is not None:
            self.messages.append(old)
        self.messages.sort(key=lambda said: said.place)
        self.answer, self.replaced, self.updated = None, None, time

    def cut_off(self, time: int) -> str | None:
        """The turn ends by a crash or a deletion. The text of its answer, if it left one."""
        assert self.answer is not None
        text = None if self.replaced is not None and not self.answer.time else self.answer.text
        self.end(text, time)
        return text

    def delete(self, places: Iterable[int], time: int) -> None:
        """Messages are deleted."""
        self.messages = [said for said in self.messages if said.place not in set(places)]
        self.updated = time
