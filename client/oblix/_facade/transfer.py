"""Files of conversations, many at once, in and out; a copy of everything that the daemon keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from oblix._facade.base import FacadePart

if TYPE_CHECKING:
    from oblix.formats.agents import places
    from oblix.reports import ImportReport

AnyPath = str | PathLike[str]
Wanted = str | Sequence[str] | Mapping[str, Any] | None


class TransferCalls(FacadePart):
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
        """Import every conversation of files and directories, and report the outcome of each.

        It reads Oblix's own JSON, JSON Lines in OpenAI's style (`jsonl`), the exports
        of ChatGPT, Claude, DeepSeek, LibreChat, LM Studio, big-AGI and Open WebUI, data
        sets, and any other object with a list of messages, also inside gzip and zip
        files, and the files of tools (`find_conversations`). The content of a file
        decides its format, unless `format` names it. Each session is imported as a
        whole or not at all. Every text of a file is in a session, or in its notes. A
        conversation that was imported before is skipped, and its new messages are
        added, unless `skip_existing` is False. `keep_ids` keeps the ids of the files,
        which must be free. `branches` also imports the other branches of conversations
        that are trees, each as a session; those of tools are always imported.
        `on_progress` is called with the report so far after each conversation.

        One conversation can have 64 MiB as JSON, and a file any size. The report has
        conversations that can't be read as refused, with file, place and reason. Raises
        NotFoundError for an unknown path, and InvalidArgumentError for a directory with
        nothing to read and for an unknown format.
        """
        return await self._async.sessions.import_from(
            paths,
            format,
            keep_ids=keep_ids,
            skip_existing=skip_existing,
            branches=branches,
            on_progress=on_progress,
        )

    def find_conversations(self, home: AnyPath | None = None) -> list[places.Findings]:
        """Find the conversations of tools on this machine: codex, opencode, aider and others.

        `home`: the directory to look in, by default the user's own. Each entry has the
        tool, its files, for `import_sessions`, and the number of conversations. Nothing
        is imported or changed.
        """
        return self._sync.sessions.find_conversations(home)

    async def export_sessions(
        self,
        sessions: Wanted,
        path: AnyPath,
        format: str | None = None,  # noqa: A002 - the word that people look for
        *,
        on_progress: Callable[[int], object] | None = None,
    ) -> int:
        """Write sessions to a file, and return how many.

        `sessions`: ids; or a filter as `list_sessions` takes it, including archived
        sessions; or None for all. `format`: `json` (a list of sessions), `jsonl`,
        `markdown`, `html` (one page that needs nothing else), `openai` or `sharegpt`
        (for training, without sessions that no model answered), or `codex`,
        `claude-code` or `opencode` (one session that this tool continues); by default
        the suffix of the file decides. The file is written as a whole or not at all,
        only its owner can read it, and missing directories are made. `on_progress` is
        called with the number so far.

        Raises NotFoundError for an unknown id, and InvalidArgumentError for a path that
        can't be written or an unknown format.
        """
        return await self._async.sessions.export_to(path, sessions, format, on_progress=on_progress)

    async def backup(
        self, path: str | PathLike[str], *, on_progress: Callable[[int, int], object] | None = None
    ) -> int:
        """Write all conversations, as they are at one moment, to a file, and return its size in bytes.

        Other programs can write meanwhile. The file is written as a whole or not at
        all, only its owner can read it, and missing directories are made. `oblixd
        restore FILE` restores it. `on_progress` is called with the bytes so far and the
        total.

        Raises InvalidArgumentError for a path that can't be written,
        ResourceExhaustedError if the daemon's disk has no space for a copy of the
        store, and DeadlineExceededError if this program read nothing for a minute.
        """
        return await self._async.sessions.backup(path, on_progress=on_progress)
