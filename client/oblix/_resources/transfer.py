"""Files of conversations, many at once, in and out.

A copy of everything that the daemon keeps.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import Struct

from oblix._convert import file_io
from oblix._convert.validation import describe, invalid, text
from oblix._convert.values import to_struct
from oblix._resources.core import Core
from oblix._resources.import_stream import ImportStream, Options
from oblix._resources.sessions import SessionCalls
from oblix._transport.channel import Channel
from oblix._transport.streams import Stream, in_thread
from oblix.formats import catalog, opening
from oblix.formats.agents import places
from oblix.limits import LARGEST_PAGE
from oblix.reports import ImportReport
from oblix.v1 import messages_pb2, sessions_pb2

AnyPath = str | PathLike[str]
Wanted = str | Sequence[str] | Mapping[str, Any] | None
Whole = tuple[sessions_pb2.Session, list[messages_pb2.Message]]


class TransferCalls(SessionCalls):
    """Import and export of whole collections of sessions."""

    async def import_sessions(
        self,
        paths: AnyPath | Sequence[AnyPath],
        format: str | None = None,  # noqa: A002 - the word that people look for
        *,
        keep_ids: bool = False,
        skip_existing: bool = True,
        branches: bool = False,
        on_progress: Callable[[ImportReport], object] | None = None,
    ) -> ImportReport:
        """Take in every conversation of files and directories, and say what became of each.

        Read are Oblix's own JSON, JSON Lines in OpenAI's style (`jsonl`), the exports of ChatGPT, Claude,
        DeepSeek, LibreChat, LM Studio, big-AGI and Open WebUI, data sets, and any other object with a list
        of messages, also inside gzip and zip files; and what tools keep (`find_conversations`). A file's
        format is found by its content unless `format` names it. Each session is kept whole or not at all.
        Every text of a file is in a session, or in its notes. What is here already, from the same source
        and with the same content, is skipped, and what was said in it since is added, unless
        `skip_existing` is False. `keep_ids` keeps the files' own ids, which must be free then. `branches`
        takes also the other branches of conversations that are trees, each as a session; those of tools
        are always taken.
        `on_progress` is called with the report so far after each conversation.

        One conversation may have 64 MiB as JSON; a file any size. What can't be
        read is in the report, as refused, with its file, place and reason. Raises
        NotFoundError where there is no such path, and InvalidArgumentError for a
        directory with nothing to read and a format that is not known.
        """
        reader = None if format is None else catalog.reader(format)
        options = Options(reader, keep_ids, skip_existing, branches)
        files = await in_thread(lambda: _files_of(paths))
        report = ImportReport(bytes_total=sum(file.stat().st_size for file in files))
        async with aclosing(self._import(files, options, report)) as grown:
            async for _ in grown:
                if on_progress is not None:
                    on_progress(report)
        report.bytes_read = report.bytes_total
        return report

    def find_conversations(self, home: AnyPath | None = None) -> list[places.Findings]:
        """Look for the conversations that tools keep on this machine: codex, opencode, aider and others.

        `home`: the directory to look in, by default the user's own. Each entry has the tool, its files,
        for `import_sessions`, and how many conversations there are. Nothing is imported or changed.
        """
        return places.search(Path.home() if home is None else file_io.path_of(home))

    async def export_sessions(
        self,
        sessions: Wanted,
        path: AnyPath,
        format: str | None = None,  # noqa: A002 - the word that people look for
        *,
        on_progress: Callable[[int], object] | None = None,
    ) -> int:
        """Write sessions to a file, and return how many.

        `sessions`: ids; or a filter as `list_sessions` takes it, with archived
        sessions too; or None for all. `format`: `json` (a list of sessions),
        `jsonl`, `markdown`, `html` (one page that needs nothing else), `openai` or
        `sharegpt` (for training: sessions that no model answered give nothing), or
        `codex`, `claude-code` or `opencode` (one session, for that tool to go on
        with); by default what the file's suffix says. The file is
        there whole or not at all, only its owner can read it, and missing
        directories are made. `on_progress` is called with the number so far.

        Raises NotFoundError for an unknown id, and InvalidArgumentError for a
        path that can't be written or a format that is not known.
        """
        target = file_io.path_of(path)
        name = catalog.writer(format, target.suffix)
        ids = await in_thread(lambda: self._ids(sessions))
        if catalog.WRITTEN[name].is_single and len(ids) != 1:
            raise invalid("sessions", f"one session for the format {name}", len(ids))
        with await in_thread(lambda: file_io.Replacement(target)) as file:
            count = await self._write(file, name, ids, on_progress or _unheard)
            await in_thread(file.commit)
        return count

    async def _import(
        self, files: Sequence[Path], options: Options, report: ImportReport
    ) -> AsyncGenerator[None, None]:
        """Send the files, and yields whenever the report has grown."""
        feeds: list[ImportStream] = []

        # Where the daemon has to be called a second time, nothing was taken yet: reading starts anew.
        def send(link: Channel) -> Stream[sessions_pb2.ImportSessionsResponse]:
            feeds.append(ImportStream(files, options))
            return link.sessions.ImportSessions(feeds[-1].steps(), metadata=link.metadata)

        async with aclosing(self._transport.stream(send)) as answers:
            async for answer in answers:
                feed = feeds[-1]
                found = feed.settled(answer.result) if answer.HasField("result") else feed.rest()
                for entry in found:
                    report.add(entry)
                    report.bytes_read = feed.bytes_settled
                    yield
        if feeds[-1].failure is not None:
            raise feeds[-1].failure

    async def _write(
        self, file: file_io.Replacement, name: str, ids: Sequence[str], on_progress: Callable[[int], object]
    ) -> int:
        layout, count = catalog.WRITTEN[name], 0
        async with aclosing(self._whole(ids)) as exported:
            async for session, messages in exported:
                block = layout.between if count else layout.start
                await in_thread(partial(file.write, block + layout.dump(session, messages)))
                count += 1
                on_progress(count)
        await in_thread(lambda: file.write(layout.end if count else layout.start + layout.end))
        return count

    async def _whole(self, ids: Sequence[str]) -> AsyncGenerator[Whole, None]:
        """Each session with its messages, one at a time in memory."""
        for start in range(0, len(ids), LARGEST_PAGE):
            session, messages = None, list[messages_pb2.Message]()
            async with aclosing(self._export_steps(ids[start : start + LARGEST_PAGE])) as steps:
                async for step in steps:
                    if step.HasField("session"):
                        if session is not None:
                            yield session, messages
                        session, messages = step.session, []
                    messages.extend(step.messages.messages)
            if session is not None:
                yield session, messages

    def _export_steps(self, ids: Sequence[str]) -> AsyncGenerator[sessions_pb2.ExportSessionsResponse, None]:
        request = sessions_pb2.ExportSessionsRequest(session_ids=ids)
        return self._transport.stream(
            lambda link: link.sessions.ExportSessions(request, metadata=link.metadata), repeatable=True
        )

    def _ids(self, wanted: Wanted) -> list[str]:
        if isinstance(wanted, str):
            return [text(wanted, "sessions")]
        if wanted is None or isinstance(wanted, Mapping):
            return list(self._matching(to_struct(wanted or {}, "sessions")))
        if not isinstance(wanted, Sequence):
            raise invalid("sessions", "ids, a filter or None", describe(wanted))
        return list(dict.fromkeys(text(each, "sessions") for each in wanted))

    def _matching(self, wanted: Struct) -> Iterator[str]:
        request = sessions_pb2.ListSessionsRequest(
            filter=wanted, page_size=LARGEST_PAGE, archived=sessions_pb2.ARCHIVED_FILTER_INCLUDE
        )
        while True:
            page = self._transport.call(lambda link: link.sessions.ListSessions, request, repeatable=True)
            yield from (session.id for session in page.sessions)
            # What is damaged is not passed over: reading it says so.
            yield from (one.session_id for one in page.damaged_sessions if one.session_id)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return


def _files_of(paths: AnyPath | Sequence[AnyPath]) -> list[Path]:
    each = [paths] if isinstance(paths, str | PathLike) else paths
    if not isinstance(each, Sequence):
        raise invalid("paths", "a path or a list of paths", describe(paths))
    return [file for path in each for file in opening.files_in(file_io.path_of(path))]


def _unheard(_: int) -> None:
    """Nobody wants to know how far it is."""


class BackupCalls(Core):
    """Backups."""

    async def backup(
        self, path: str | PathLike[str], *, on_progress: Callable[[int, int], object] | None = None
    ) -> int:
        """Write all conversations, as they are at one moment, to a file, and return its size in bytes.

        Other programs go on writing meanwhile. The file is there whole or not at
        all, only its owner can read it, and missing directories are made.
        `oblixd restore FILE` takes it back. `on_progress` is called with the
        bytes so far and the bytes of the whole.

        Raises InvalidArgumentError for a path that can't be written,
        ResourceExhaustedError where the daemon's disk has no room for the copy
        that a backup begins with, and DeadlineExceededError where this program
        took nothing for a minute.
        """
        target = file_io.path_of(path)
        answers = self._transport.stream(
            lambda link: link.sessions.BackupStore(sessions_pb2.BackupStoreRequest(), metadata=link.metadata),
            repeatable=True,
        )
        with await in_thread(lambda: file_io.Replacement(target)) as file:
            done = total = 0
            async with aclosing(answers):
                async for piece in answers:
                    await in_thread(partial(file.write, piece.data))
                    done, total = done + len(piece.data), piece.estimated_size or total
                    if on_progress is not None:
                        on_progress(done, total)
            await in_thread(file.commit)
        return done
