"""Files of conversations, many at once, in and out; a copy of everything that the daemon keeps."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from oblix._async.items import AsyncItems
from oblix._async.messages import AsyncMessages
from oblix._convert import file_io
from oblix._convert.decoding import conversation_of
from oblix._convert.validation import invalid
from oblix._resources import transfer_plans as plans
from oblix._transport.channel import Channel
from oblix._transport.streams import Stream, in_thread
from oblix.limits import LARGEST_PAGE
from oblix.options import AnyPath, SessionRef
from oblix.reports import ImportReport
from oblix.results import Conversation
from oblix.v1 import messages_pb2, sessions_pb2

if TYPE_CHECKING:
    from oblix._resources.import_stream import ImportStream, Options
    from oblix.formats.agents import places

# The formats of other programs are loaded when a file is read or written.
Wanted: TypeAlias = SessionRef | Sequence[SessionRef] | Mapping[str, Any] | None
Whole: TypeAlias = tuple[sessions_pb2.Session, list[messages_pb2.Message]]


class AsyncTransfer(AsyncMessages):
    """Import and export of sessions, and backups."""

    async def import_from(
        self,
        paths: AnyPath | Sequence[AnyPath],
        format: str | None = None,  # noqa: A002 - the word that people look for
        *,
        keep_ids: bool = False,
        skip_existing: bool = True,
        branches: bool = False,
        on_progress: Callable[[ImportReport], object] | None = None,
    ) -> ImportReport:
        """Import every conversation of files and directories, and report the outcome of each.

        It reads Oblix's own JSON, JSON Lines in OpenAI's style (`jsonl`), the exports of ChatGPT, Claude,
        DeepSeek, LibreChat, LM Studio, big-AGI and Open WebUI, data sets, and any other object with a list
        of messages, also inside gzip and zip files, and the files of tools (`find_conversations`). The
        content of a file decides its format, unless `format` names it. Each session is imported as a whole
        or not at all. Every text of a file is in a session, or in its notes. A conversation that was
        imported before is skipped, and its new messages are added, unless `skip_existing` is False.
        `keep_ids` keeps the ids of the files, which must be free. `branches` also imports the other
        branches of conversations that are trees, each as a session; those of tools are always imported.
        `on_progress` is called with the report so far after each conversation.

        One conversation can have 64 MiB as JSON, and a file any size. The report has conversations that
        can't be read as refused, with file, place and reason. Raises NotFoundError for an unknown path,
        and InvalidArgumentError for a directory with nothing to read and for an unknown format.
        """
        from oblix._resources.import_stream import Options
        from oblix.formats import catalog

        reader = None if format is None else catalog.reader(format)
        options = Options(reader, keep_ids, skip_existing, branches)
        files = await in_thread(lambda: plans.files_of(paths))
        report = ImportReport(bytes_total=sum(file.stat().st_size for file in files))
        async with aclosing(self._import(files, options, report)) as grown:
            async for _ in grown:
                if on_progress is not None:
                    on_progress(report)
        report.bytes_read = report.bytes_total
        return report

    def find_conversations(self, home: AnyPath | None = None) -> list[places.Findings]:
        """Find the conversations of tools on this machine: codex, opencode, aider and others.

        `home`: the directory to look in, by default the user's own. Each entry has the tool, its files,
        for `import_from`, and how many conversations there are. Nothing is imported or changed.
        """
        from oblix.formats.agents import places

        return places.search(Path.home() if home is None else file_io.path_of(home))

    async def export(self, sessions: Wanted = None) -> AsyncGenerator[Conversation, None]:
        """Yield sessions with their messages, one at a time in memory.

        `sessions`: one or several; or a filter as `list` takes it, with archived sessions too; or
        None for all. Raises NotFoundError for an unknown id.
        """
        async with aclosing(self.whole_sessions(await self.ids_of(sessions))) as exported:
            async for session, messages in exported:
                yield conversation_of(session, messages)

    async def export_to(
        self,
        path: AnyPath,
        sessions: Wanted = None,
        format: str | None = None,  # noqa: A002 - the word that people look for
        *,
        on_progress: Callable[[int], object] | None = None,
    ) -> int:
        """Write sessions to a file, and return how many.

        `sessions`: as in `export`. `format`: `json` (a list of sessions), `jsonl`, `markdown`,
        `html` (one page that needs nothing else), `openai` or `sharegpt` (for training, without
        sessions that no model answered), or `codex`, `claude-code` or `opencode` (one session that
        this tool continues); by default the suffix of the file decides. The file is written as a
        whole or not at all, only its owner can read it, and missing directories are made.
        `on_progress` is called with the number so far.

        Raises NotFoundError for an unknown id, and InvalidArgumentError for a path that can't be
        written or a format that is not known.
        """
        from oblix.formats import catalog

        target = file_io.path_of(path)
        name = catalog.writer(format, target.suffix)
        ids = await self.ids_of(sessions)
        if catalog.WRITTEN[name].is_single and len(ids) != 1:
            raise invalid("sessions", f"one session for the format {name}", len(ids))
        with await in_thread(lambda: file_io.Replacement(target)) as file:
            count = await self._write(file, name, ids, on_progress or plans.unheard)
            await in_thread(file.commit)
        return count

    async def backup(self, path: AnyPath, *, on_progress: Callable[[int, int], object] | None = None) -> int:
        """Write all conversations, as they are at one moment, to a file, and return its size in bytes.

        Other programs can write meanwhile. The file is written as a whole or not at all, only its owner
        can read it, and missing directories are made. `oblixd restore FILE` restores it.
        `on_progress` is called with the bytes so far and the total.

        Raises InvalidArgumentError for a path that can't be written, ResourceExhaustedError if the
        daemon's disk has no space for a copy of the store, and DeadlineExceededError if this program
        read nothing for a minute.
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

    async def import_document(self, path: AnyPath, *, new_id: bool = True) -> str:
        """Import one file of Oblix's own JSON, also of the first Oblix, and return the session's id.

        `new_id=False` keeps the file's id; AlreadyExistsError if it exists. Raises NotFoundError for
        a missing file, and InvalidArgumentError, with the file and the problem, for a file that is
        not a session or is larger than 128 MiB.
        """
        from oblix._resources.import_stream import only_result, steps_of
        from oblix.formats import oblix_json

        file = file_io.path_of(path)
        session, messages = await in_thread(
            lambda: oblix_json.load(file_io.read(file, oblix_json.MAX_BYTES), str(file))
        )
        header = sessions_pb2.ImportHeader(session=session, keep_id=not new_id)
        answers = self._transport.stream(
            lambda link: link.sessions.ImportSessions(steps_of(header, messages), metadata=link.metadata)
        )
        async with aclosing(answers):
            results = [answer.result async for answer in answers if answer.HasField("result")]
        return only_result(results).id

    async def export_document(self, session: SessionRef, path: AnyPath) -> None:
        """Write one session as Oblix's own JSON, the form that `import_document` takes.

        The file is written as a whole or not at all, and only its owner can read it; missing
        directories are made. Raises NotFoundError, and InvalidArgumentError for a path that can't be written.
        """
        file = file_io.path_of(path)
        async with aclosing(self.whole_sessions(await self.ids_of(session))) as exported:
            async for header, messages in exported:
                await in_thread(partial(plans.write_document, file, header, messages))

    async def whole_sessions(self, ids: Sequence[str]) -> AsyncGenerator[Whole, None]:
        """Yield sessions as the contract has them, each with its messages."""
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

    async def ids_of(self, wanted: Wanted) -> list[str]:
        """Return the ids of the sessions that are wanted."""
        if wanted is None or isinstance(wanted, Mapping):
            request = plans.listing_of(wanted)
            return [name async for name in AsyncItems(partial(self._names, request))]
        return plans.ids_of(wanted)

    async def _names(
        self, request: sessions_pb2.ListSessionsRequest, token: str, most: int
    ) -> tuple[list[str], str]:
        asked = plans.page_of(request, token, most)
        page = await self._transport.acall(lambda link: link.sessions.ListSessions, asked, repeatable=True)
        # What is damaged is not passed over: reading it says so.
        damaged = [one.session_id for one in page.damaged_sessions if one.session_id]
        return [session.id for session in page.sessions] + damaged, page.next_page_token

    async def _import(
        self, files: Sequence[Path], options: Options, report: ImportReport
    ) -> AsyncGenerator[None, None]:
        """Send the files, and yield whenever the report has grown."""
        from oblix._resources.import_stream import ImportStream

        feeds: list[ImportStream] = []

        # Where the daemon has to be called a second time, nothing was taken yet: reading starts anew.
        def send(link: Channel) -> Stream[sessions_pb2.ImportSessionsResponse]:
            feeds.append(ImportStream(files, options))
            return link.sessions.ImportSessions(feeds[-1].steps(), metadata=link.metadata)

        async with aclosing(self._transport.stream(send)) as answers:
            async for answer in answers:
                feed = feeds[-1]
                found = feed.settle(answer.result) if answer.HasField("result") else feed.rest()
                for entry in found:
                    report.add(entry)
                    report.bytes_read = feed.bytes_settled
                    yield
        if feeds[-1].failure is not None:
            raise feeds[-1].failure

    async def _write(
        self, file: file_io.Replacement, name: str, ids: Sequence[str], on_progress: Callable[[int], object]
    ) -> int:
        from oblix.formats import catalog

        layout, count = catalog.WRITTEN[name], 0
        async with aclosing(self.whole_sessions(ids)) as exported:
            async for session, messages in exported:
                block = layout.between if count else layout.start
                await in_thread(partial(file.write, block + layout.dump(session, messages)))
                count += 1
                on_progress(count)
        await in_thread(lambda: file.write(layout.end if count else layout.start + layout.end))
        return count

    def _export_steps(self, ids: Sequence[str]) -> AsyncGenerator[sessions_pb2.ExportSessionsResponse, None]:
        request = sessions_pb2.ExportSessionsRequest(session_ids=ids)
        return self._transport.stream(
            lambda link: link.sessions.ExportSessions(request, metadata=link.metadata), repeatable=True
        )
