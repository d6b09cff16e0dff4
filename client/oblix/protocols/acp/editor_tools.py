"""The tools that an editor offers: its files and its terminal. The editor runs them, after it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from acp import Client, RequestError, helpers, schema

MAX_RESULT_CHARACTERS = 256 * 1024
"""Of a file or of a command's output that a model is shown; the rest is cut, and told."""
MAX_OUTPUT_BYTES = 64 * 1024
CLEANUP_S = 5.0
NOT_RUN = "Not run: Oblix runs no tools itself, and the editor offers none of this name."
REFUSED = "Not run: the person refused it."

_PATH = {"type": "string", "description": "The file's path, absolute or from the working directory."}
_PLAN_ENTRY = {
    "type": "object",
    "properties": {
        "content": {"type": "string"},
        "priority": {"enum": ["high", "medium", "low"]},
        "status": {"enum": ["pending", "in_progress", "completed"]},
    },
    "required": ["content", "status"],
}
READ = ("read_file", "Read a text file.", {"path": _PATH}, ["path"])
WRITE = (
    "write_file",
    "Write a text file; what it held before is replaced.",
    {"path": _PATH, "content": {"type": "string"}},
    ["path", "content"],
)
COMMAND = (
    "run_command",
    "Run a program in a terminal and wait for its end. There is no shell: arguments are passed as they are.",
    {"command": {"type": "string"}, "args": {"type": "array", "items": {"type": "string"}}, "cwd": _PATH},
    ["command"],
)
PLAN = (
    "update_plan",
    "Show the person the whole plan of a task of several steps, each time that a step changes.",
    {"entries": {"type": "array", "items": _PLAN_ENTRY}},
    ["entries"],
)
KINDS: dict[str, schema.ToolKind] = {
    "read_file": "read",
    "write_file": "edit",
    "run_command": "execute",
    "update_plan": "think",
}
OPTIONS = [
    schema.PermissionOption(option_id="allow", name="Allow", kind="allow_once"),
    schema.PermissionOption(option_id="always", name="Always allow here", kind="allow_always"),
    schema.PermissionOption(option_id="reject", name="Reject", kind="reject_once"),
]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a tool call."""

    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of a model, as the editor knows it."""

    shown_id: str
    """The editor's id: unique in the session, other than a model's own."""
    name: str
    arguments: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Say in a few words what is to be done."""
        given = self.arguments
        words = [given.get("path") or given.get("command") or "", *_list(given, "args")]
        return " ".join([self.name, *map(str, words)]).strip()


class EditorTools:
    """The tools of one session."""

    def __init__(
        self, editor: Client, capabilities: schema.ClientCapabilities, session_id: str, directory: str
    ) -> None:
        self._editor = editor
        self._session_id = session_id
        self._directory = directory
        self._allowed: set[str] = set()
        files = capabilities.fs or schema.FileSystemCapabilities()
        self.can_read = bool(files.read_text_file)
        self._runners: dict[str, Callable[[Call], Awaitable[Result]]] = {}
        self._described: list[tuple[str, str, dict[str, Any], list[str]]] = []
        self._offer(self.can_read, READ, self._read)
        self._offer(bool(files.write_text_file), WRITE, self._write)
        self._offer(bool(capabilities.terminal), COMMAND, self._run_command)
        self._offer(bool(self._runners), PLAN, self._show_plan)

    def _offer(
        self,
        is_there: bool,
        description: tuple[str, str, dict[str, Any], list[str]],
        runner: Callable[[Call], Awaitable[Result]],
    ) -> None:
        if is_there:
            self._described.append(description)
            self._runners[description[0]] = runner

    def definitions(self) -> list[dict[str, Any]]:
        """Return the tools as a prompt names them to a model; empty where the editor offers nothing."""
        return [
            {
                "name": name,
                "description": description,
                "parameters": {"type": "object", "properties": properties, "required": required},
            }
            for name, description, properties, required in self._described
        ]

    async def read(self, path: str) -> str | None:
        """Read a text file that the person attached; None where the editor can't."""
        if not self.can_read:
            return None
        with suppress(RequestError):
            answer = await self._editor.read_text_file(session_id=self._session_id, path=path)
            return _cut(answer.content)
        return None

    async def call(self, call: Call) -> Result:
        """Ask the person, have the editor do it, and show both."""
        result = await self._run(call)
        await self._show(
            helpers.update_tool_call(
                call.shown_id,
                status="failed" if result.is_error else "completed",
                # What a command wrote stands in its terminal already.
                content=None if call.name == "run_command" and not result.is_error else _content(result.text),
                raw_output=result.text,
            )
        )
        return result

    async def _run(self, call: Call) -> Result:
        runner = self._runners.get(call.name)
        if runner is None:
            return Result(NOT_RUN, is_error=True)
        try:
            if call.name != PLAN[0] and not await self._is_allowed(call):
                return Result(REFUSED, is_error=True)
            return await runner(call)
        except RequestError as error:
            return Result(f"The editor could not do it: {error}{_details(error)}", is_error=True)
        except (KeyError, TypeError, ValueError) as error:
            return Result(f"The arguments are wrong: {error}", is_error=True)

    async def _is_allowed(self, call: Call) -> bool:
        if call.name in self._allowed:
            return True
        update = schema.ToolCallUpdate(
            tool_call_id=call.shown_id,
            title=call.title,
            kind=KINDS[call.name],
            status="pending",
            content=await self._preview(call),
            locations=[schema.ToolCallLocation(path=path) for path in self._paths(call)] or None,
            raw_input=dict(call.arguments),
        )
        answer = await self._editor.request_permission(
            session_id=self._session_id, tool_call=update, options=OPTIONS
        )
        chosen = getattr(answer.outcome, "option_id", "")
        if chosen == "always":
            self._allowed.add(call.name)
        return chosen in {"allow", "always"}

    async def _preview(self, call: Call) -> list[Any] | None:
        """Return what would be written, beside what is there."""
        if call.name != WRITE[0]:
            return None
        path = self._path(call, "path")
        before = await self.read(path)
        return [helpers.tool_diff_content(path, str(call.arguments["content"]), before)]

    async def _read(self, call: Call) -> Result:
        path = self._path(call, "path")
        answer = await self._editor.read_text_file(session_id=self._session_id, path=path)
        return Result(_cut(answer.content))

    async def _write(self, call: Call) -> Result:
        path, content = self._path(call, "path"), call.arguments["content"]
        if not isinstance(content, str):
            raise TypeError("content must be a text")
        await self._editor.write_text_file(session_id=self._session_id, path=path, content=content)
        return Result(f"{path} is written.")

    async def _run_command(self, call: Call) -> Result:
        made = await self._editor.create_terminal(
            session_id=self._session_id,
            command=str(call.arguments["command"]),
            args=[str(word) for word in _list(call.arguments, "args")],
            cwd=self._path(call, "cwd") if call.arguments.get("cwd") else self._directory,
            output_byte_limit=MAX_OUTPUT_BYTES,
        )
        terminal = {"session_id": self._session_id, "terminal_id": made.terminal_id}
        is_over = False
        try:
            await self._show(
                helpers.update_tool_call(
                    call.shown_id,
                    status="in_progress",
                    content=[helpers.tool_terminal_ref(made.terminal_id)],
                )
            )
            ended = await self._editor.wait_for_terminal_exit(**terminal)
            is_over = True
            output = await self._editor.terminal_output(**terminal)
        finally:
            await self._release(terminal, is_over=is_over)
        how = f"signal {ended.signal}" if ended.signal else f"exit code {ended.exit_code}"
        return Result(f"{_cut(output.output)}\n[{how}]", is_error=bool(ended.signal or ended.exit_code))

    async def _release(self, terminal: dict[str, str], *, is_over: bool) -> None:
        """Leave no program running behind, also where the turn was cancelled."""
        with suppress(RequestError, ConnectionError, TimeoutError):
            async with asyncio.timeout(CLEANUP_S):
                if not is_over:
                    await self._editor.kill_terminal(**terminal)
                await self._editor.release_terminal(**terminal)

    async def _show_plan(self, call: Call) -> Result:
        await self._show(helpers.update_plan(plan_of(call.name, call.arguments) or []))
        return Result("The plan is shown.")

    async def _show(self, update: Any) -> None:
        await self._editor.session_update(session_id=self._session_id, update=update)

    def _path(self, call: Call, key: str) -> str:
        return str(PurePosixPath(self._directory, str(call.arguments[key])))

    def _paths(self, call: Call) -> list[str]:
        return [self._path(call, "path")] if "path" in call.arguments else []


def plan_of(name: str, arguments: Mapping[str, Any]) -> list[schema.PlanEntry] | None:
    """Return the plan that a call of a planning tool shows, or None for any other tool.

    `update_plan` here and in codex (`plan`: `step`, `status`), `TodoWrite` in
    claude-code and `todowrite` in opencode (`todos`: `content`, `status`, `priority`).
    """
    if name not in {"update_plan", "TodoWrite", "todowrite"}:
        return None
    entries: object = next((arguments[key] for key in ("entries", "plan", "todos") if key in arguments), [])
    return [
        schema.PlanEntry(
            content=str(one.get("content") or one.get("step") or ""),
            priority=one["priority"] if one.get("priority") in {"high", "low"} else "medium",
            status=one["status"] if one.get("status") in {"in_progress", "completed"} else "pending",
        )
        for one in (entries if isinstance(entries, list) else [])
        if isinstance(one, Mapping)
    ]


def arguments_of(arguments_json: str) -> dict[str, Any]:
    """Return the arguments of a call; empty where the model wrote no JSON object."""
    try:
        arguments = json.loads(arguments_json)
    except (ValueError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _list(arguments: Mapping[str, Any], key: str) -> list[Any]:
    value = arguments.get(key)
    return value if isinstance(value, list) else []


def _content(text: str) -> list[Any]:
    return [helpers.tool_content(helpers.text_block(text))]


def _cut(text: str) -> str:
    if len(text) <= MAX_RESULT_CHARACTERS:
        return text
    return f"{text[:MAX_RESULT_CHARACTERS]}\n[cut: {len(text):,} characters in all]"


def _details(error: RequestError) -> str:
    return f" ({json.dumps(error.data, default=str)[:500]})" if error.data else ""
