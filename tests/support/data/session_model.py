"""What sessions hold, as a test keeps it in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Said:
    """A message as the model knows it: its place, its text, when it was said."""

    place: int
    text: str
    time: int


@dataclass
class Model:
    """A session as the model knows it."""

    title: str
    metadata: dict[str, Any]
    updated: int
    messages: list[Said] = field(default_factory=list)
    next_place: int = 1
    archived: bool = False
    answer: Said | None = None
    """The running turn's answer: its place, and its text as far as it was checkpointed."""

    def say(self, texts: list[str], time: int) -> None:
        for text in texts:
            self.messages.append(Said(self.next_place, text, time))
            self.next_place += 1
        self.updated = time

    def told(self) -> list[str]:
        begun = [self.answer] if self.answer is not None and self.answer.time else []
        return [said.text for said in sorted([*self.messages, *begun], key=lambda said: said.place)]

    def end(self, text: str | None, time: int) -> None:
        assert self.answer is not None
        if text is not None:
            self.messages.append(Said(self.answer.place, text, self.answer.time or time))
            self.messages.sort(key=lambda said: said.place)
        self.answer, self.updated = None, time
