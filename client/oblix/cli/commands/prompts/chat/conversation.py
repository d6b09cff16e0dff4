"""What a chat is in: its session, its model, and what goes with the next prompt."""

from __future__ import annotations

from argparse import Namespace
from base64 import b64decode
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import oblix
from oblix.cli.errors import CommandError
from oblix.cli.options import models
from oblix.cli.output import answers, hints, screens, tables, wording
from oblix.cli.output.events import Completion, Event, of_client
from oblix.cli.prompting import attachments, consent

AUTO = "auto"
"""Instead of a model's name: routing chooses."""
FURTHEST = 60
"""So many messages from the end the last question is looked for: tools may have been called since."""
TITLE_CHARACTERS = 60
NOTHING_SAID = "nothing was said yet."


class Conversation:
    """A chat's state, and its turns."""

    def __init__(
        self,
        client: oblix.OblixClient,
        *,
        session_id: str | None,
        model: str | None,
        policy: str | None,
        system: str | None,
        is_local_only: bool,
        is_plain: bool,
        is_silent: bool,
        is_verbose: bool,
        named_cloud_model: str | None,
    ) -> None:
        self.client = client
        self.session_id = session_id
        """None until the first prompt is sent."""
        self.model = model
        """The model that answers. None: routing chooses."""
        self.policy = policy
        self.system = system
        self.is_silent = is_silent
        """Nothing is told about answers."""
        self._is_verbose = is_verbose
        self.completed: Completion | None = None
        """The last answer's end."""
        self.recorded = answers.Recorded()
        """What is kept of the turn that runs."""
        self.saved_files: set[Path] = set()
        """The files that this chat wrote: it may write them again."""
        self._is_local_only = is_local_only
        self._is_plain = is_plain
        self._consented = {named_cloud_model}
        """The cloud models that nobody is asked about any more."""
        self._files = attachments.Attachments()
        self._draft = ""
        self._edited: Mapping[str, Any] | None = None
        """The question that the next prompt takes the place of."""

    @property
    def answer(self) -> str:
        """The last answer's text. Raises CommandError before there is one."""
        if self.completed is not None:
            return self.completed.text
        # None was given in this chat: it goes on with a session that has one, or with what /undo left.
        return str(self._last_of("assistant")["content"])

    def kept_id(self) -> str:
        """Return the session's id. Raises CommandError before the first prompt."""
        if self.session_id is None:
            raise CommandError(NOTHING_SAID)
        return self.session_id

    def summary(self) -> str:
        """Return the session's title and length, to know it again; empty where there is no session yet."""
        session = self.client.get_session(self.session_id) if self.session_id else None
        if session is None:
            return ""
        count = tables.count_text(session["message_count"], "message")
        title = tables.cut(session["title"] or "no title", TITLE_CHARACTERS)
        return f'"{title}", {count}'

    def model_names(self) -> list[str]:
        """Return the models that can be chosen."""
        listed = self.client.list_models()
        return [AUTO, *(f"{provider}:{name}" for provider, names in listed.items() for name in names)]

    async def choose(self, name: str) -> None:
        """Take another model from now on. Raises CommandError for one that is not known."""
        given = None if name == AUTO else name
        self.model = await models.hook(self.client, given, Namespace(endpoint=None, api_key_file=None))

    def instruct(self, system: str) -> None:
        """Take another system message from now on."""
        self.system = system
        if self.session_id is not None:
            self.client.update_session(self.session_id, context={"system": system})

    def begin_anew(self) -> None:
        """Leave the session: the next prompt makes another one."""
        self.session_id = self.completed = self._edited = None

    async def fork(self) -> str:
        """Go on in a copy, and return its id."""
        self.session_id = await self.client.fork_session(self.kept_id())
        return self.session_id

    def attach(self, path: str) -> None:
        """Add a file to the next prompt. Raises CommandError."""
        found = attachments.read([path])
        self._files.texts += found.texts
        self._files.images += found.images

    def take_draft(self) -> str:
        """Return what the next line begins with: a question that is being edited.

        Only that line takes the question's place: where it was dropped, the next one is a new question.
        """
        draft, self._draft = self._draft, ""
        if not draft:
            self._edited = None
        return draft

    def edit(self) -> None:
        """Put the last question into the next line. What is sent then takes its place, and its answer's."""
        self._edited = self._last_of("user")
        self._draft = str(self._edited["content"])

    def undo(self) -> str:
        """Take the last question and its answer out of the session, and return the question."""
        question = self._last_of("user")
        self.client.truncate_session(self.kept_id(), question["id"])
        self.completed = None
        return str(question["content"])

    async def retry(self) -> None:
        """Answer the last question anew."""
        question = self._last_of("user")
        prompt, images = str(question["content"]), _images_of(question)
        await self._check_cloud(prompt)
        last = self.client.get_message(self.kept_id(), -1)
        if last["id"] != question["id"]:
            await self._show(self._events("", [], regenerate_message_id=last["id"]))
            return
        # The question got no answer: it is asked again.
        self.client.truncate_session(self.kept_id(), question["id"])
        await self._show(self._events(prompt, images))

    async def send(self, text: str) -> None:
        """Send a prompt with its files, and show the answer. A turn that fails stays in the session."""
        prompt, images = self._files.before(text), self._files.images
        await self._check_cloud(prompt)
        if self._edited and self.session_id:
            images = [*_images_of(self._edited), *images]
            self.client.truncate_session(self.session_id, self._edited["id"])
        self._edited = None
        if self.session_id is None:
            self.session_id = await self.client.create_session(
                wording.title(text),
                {"system": self.system} if self.system else None,
                local_only=self._is_local_only,
            )
        self._files = attachments.Attachments()
        await self._show(self._events(prompt, images))

    def _events(self, prompt: str, images: Sequence[bytes], **options: Any) -> AsyncGenerator[Event, None]:
        events = self.client.stream(
            prompt,
            session_id=self.session_id,
            model=self.model,
            policy=self.policy,
            local_only=self._is_local_only,
            images=list(images),
            # An answer that breaks off begins anew on the other model, where there is one.
            on_break="restart",
            **options,
        )
        return of_client(events)

    async def _show(self, events: AsyncGenerator[Event, None]) -> None:
        self.recorded = answers.Recorded()
        screen = screens.screen_for_answers(plain=self._is_plain)
        told = answers.full_report if self._is_verbose else answers.in_line
        summary = None if self.is_silent else told
        self.completed = await answers.show(events, screen=screen, summary=summary, recording=self.recorded)
        if not self.is_silent:
            hints.about_model(self.completed.model)

    async def _check_cloud(self, prompt: str) -> None:
        """Ask a person before a prompt would go to a cloud model which nobody named, once for each model."""
        if self.model is not None or self._is_local_only or not consent.can_ask():
            return
        routes = await self.client.explain(prompt, self.session_id, policy=self.policy)
        destination = consent.destination_in(routes)
        if destination.is_cloud and destination.model not in self._consented:
            try:
                consent.check(destination)
            except KeyboardInterrupt:  # it ends neither the chat nor an answer
                raise CommandError(consent.REFUSED) from None
            self._consented.add(destination.model)

    def _last_of(self, role: str) -> dict[str, Any]:
        """Return the last message of `user` or `assistant`. Raises CommandError where there is none."""
        session_id = self.kept_id()
        session = self.client.get_session(session_id)
        count = min(session["message_count"] if session else 0, FURTHEST)
        for place in range(1, count + 1):
            message = self.client.get_message(session_id, -place)
            if message["role"] == role:
                return message
        raise CommandError(NOTHING_SAID)


def _images_of(message: Mapping[str, Any]) -> list[bytes]:
    return [b64decode(part["image"]["data"]) for part in message.get("parts", ()) if "image" in part]
