"""Files of conversations, many at once, in and out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import Struct

from oblix import _files
from oblix._checks import invalid, shown, text
from oblix._feed import Feed, Options
from oblix._link import Link
from oblix._sessions import SessionCalls
from oblix._streams import Stream, in_thread
from oblix._values import to_struct
from oblix.formats import catalog, opening
from oblix.reports import ImportReport
from oblix.v1 import messages_pb2, sessions_pb2

AnyPath = str | PathLike[str]
Wanted = str | Sequence[str] | Mapping[str, Any] | None
Whole = tuple[sessions_pb2.Session, list[messages_pb2.Message]]

LARGEST_PAGE = 1000


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
        of messages, also inside gzip and zip files; a file's format is found by its content unless
        `format` names it. Each session is kept whole or not at all. Every text of a file is in a session,
        or in its notes. What is here already, from the same source and with the same content, is skipped
        unless `skip_existing` is False. `keep_ids` keeps the files' own ids, which must be free then.
        `branches` takes also the other branches of conversations that are trees, each as a session.
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
        async with aclosing(self._imported(files, options, report)) as grown:
            async for _ in grown:
                if on_progress is not None:
                    on_progress(report)
        report.bytes_read = report.bytes_total
        return report

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
        `jsonl` or `markdown`; by default what the file's suffix says. The file is
        there whole or not at all, only its owner can read it, and missing
        directories are made. `on_progress` is called with the number so far.

        Raises NotFoundError for an unknown id, and InvalidArgumentError for a
        path that can't be written or a format that is not known.
        """
        target = _files.path_of(path)
        name = catalog.writer(format, target.suffix)
        ids = await in_thread(lambda: self._ids(sessions))
        with await in_thread(lambda: _files.Replacement(target)) as file:
            count = await self._written(file, name, ids, on_progress or _unheard)
            await in_thread(file.commit)
        return count

    async def _imported(
        self, files: Sequence[Path], options: Options, report: ImportReport
    ) -> AsyncGenerator[None, None]:
        """Sends the files, and yields whenever the report has grown."""
        feeds: list[Feed] = []

        # Where the daemon has to be called a second time, nothing was taken yet: reading starts anew.
        def send(link: Link) -> Stream[sessions_pb2.ImportSessionsResponse]:
            feeds.append(Feed(files, options))
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

    async def _written(
        self, file: _files.Replacement, name: str, ids: Sequence[str], on_progress: Callable[[int], object]
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
            raise invalid("sessions", "ids, a filter or None", shown(wanted))
        return list(dict.fromkeys(text(each, "sessions") for each in wanted))

    def _matching(self, wanted: Struct) -> Iterator[str]:
        request = sessions_pb2.ListSessionsRequest(
            filter=wanted, page_size=LARGEST_PAGE, archived=sessions_pb2.ARCHIVED_FILTER_INCLUDE
        )
        while True:
            page = self._transport.call(lambda link: link.sessions.ListSessions, request, repeatable=True)
            yield from (session.id for session in page.sessions)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return


def _files_of(paths: AnyPath | Sequence[AnyPath]) -> list[Path]:
    each = [paths] if isinstance(paths, str | PathLike) else paths
    if not isinstance(each, Sequence):
        raise invalid("paths", "a path or a list of paths", shown(paths))
    return [file for path in each for file in opening.files_in(_files.path_of(path))]


def _unheard(_: int) -> None:
    """Nobody wants to know how far it is."""
