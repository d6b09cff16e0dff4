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
        return await self._async.sessions.import_from(
            paths,
            format,
            keep_ids=keep_ids,
            skip_existing=skip_existing,
            branches=branches,
            on_progress=on_progress,
        )

    def find_conversations(self, home: AnyPath | None = None) -> list[places.Findings]:
        """Look for the conversations that tools keep on this machine: codex, opencode, aider and others.

        `home`: the directory to look in, by default the user's own. Each entry has the tool, its files,
        for `import_sessions`, and how many conversations there are. Nothing is imported or changed.
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
        return await self._async.sessions.export_to(path, sessions, format, on_progress=on_progress)

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
        return await self._async.sessions.backup(path, on_progress=on_progress)
