"""`oblix explain`: where a prompt would go now, or went, and why."""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import oblix
from oblix.answers import MOST_TURNS
from oblix.cli import preferences
from oblix.cli.errors import CommandError
from oblix.cli.options import models, ranges, session_ids
from oblix.cli.output import answers, tables
from oblix.cli.output.wording import question

EPILOG = """examples:
  oblix explain "Why is the sky blue?"
  oblix explain --policy fastest --max-cost 0.01 "Why is the sky blue?"
  oblix explain 01a20478-722c-7ed5-a194-3369302ec6b5

It sends nothing to a model and records nothing. For the id of a session, it explains that session's turns."""
CANDIDATES = ("rank", "model", "location", "rule", "reason")
TURNS = ("time", "prompt", "model", "rule", "reason")
PROMPT_CHARACTERS = 40
SESSION_ID = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,127}")
"""What the daemon takes for an id. A single dash is standard input."""
MADE_ID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{1,27}")
"""An id as the daemon makes them, its beginning as lists show it, or one that was mistyped."""
OF_PROMPTS = ("session", "model", "endpoint", "policy", "max_cost", "max_tokens", "local_only")
"""The options that make no sense for turns of the past."""

Decision = Mapping[str, Mapping[str, Any]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("words", nargs="*", metavar="PROMPT", help="the prompt, or a session's id")
    parser.add_argument(
        "--session", metavar="ID", type=session_ids.SessionName, help="as the next prompt of this session"
    )
    models.add_model(parser)
    models.add_policy(parser)
    parser.add_argument(
        "--max-cost", metavar="X", type=ranges.max_cost, help="the most that the answer may cost"
    )
    parser.add_argument(
        "--max-tokens", metavar="N", type=ranges.max_tokens, help="the most that the model may write"
    )
    parser.add_argument("--local-only", action="store_true", help="let no cloud model see it")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=partial(run, parser))


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Print the decision, or those of a session's turns."""
    if (turns := _turns(arguments.words)) is not None:
        given = [f"--{name.replace('_', '-')}" for name in OF_PROMPTS if getattr(arguments, name)]
        if given:
            parser.error(f"{given[0]} says nothing of turns that have been; leave it out, or give a prompt")
        _show_turns(turns, arguments)
        return
    prompt = question(arguments.words, required=False)
    if not prompt.strip():
        parser.error('a prompt or a session\'s id is missing: oblix explain "Why is the sky blue?"')
    decision, machine, network = asyncio.run(_explanation(prompt, arguments))
    if arguments.json:
        tables.show_json(decision)
        return
    _show(decision, machine, network)


def _turns(words: list[str]) -> list[dict[str, Any]] | None:
    """Return the turns of the session that a single word names; None where it names none."""
    if len(words) == 1 and (words[0].startswith("@") or MADE_ID.fullmatch(words[0])):
        words = [session_ids.resolve_id(words[0])]
    if len(words) != 1 or not SESSION_ID.fullmatch(words[0]):
        return None
    turns = oblix.OblixClient().explain_session(words[0], MOST_TURNS + 1)
    if turns is None and MADE_ID.fullmatch(words[0]):
        raise CommandError(
            f"there is no session {words[0]}. `oblix sessions list` shows those that there are."
        )
    return turns


async def _explanation(
    prompt: str, arguments: argparse.Namespace
) -> tuple[Decision, Mapping[str, Any], Mapping[str, Any]]:
    chosen = preferences.load()  # as `oblix ask` sends it
    options = {
        "policy": arguments.policy or chosen.policy,
        "max_cost": arguments.max_cost,
        "max_tokens": arguments.max_tokens,
    }
    async with oblix.OblixClient() as client:
        decision = await client.explain(
            prompt,
            arguments.session,
            model=await models.hook(client, arguments.model or chosen.model, arguments),
            local_only=arguments.local_only,
            **{name: value for name, value in options.items() if value is not None},
        )
        return decision, await client.get_resource_metrics(), await client.get_connectivity_metrics()


def _show(decision: Decision, machine: Mapping[str, Any], network: Mapping[str, Any]) -> None:
    chosen = decision["model_routing"]
    lines = {
        "goes to": chosen["target"] or "nowhere",
        "rule": chosen["state"],
        "why": chosen["reason"],
        "policy": f"{chosen['policy']} ({chosen['policy_source']})",
        "machine": _state(decision["resource_routing"], machine),
        "network": _state(decision["connectivity_routing"], network),
    }
    for name, value in lines.items():
        print(_wrap(f"{name:<8} {value}", 9))
    print()
    _show_rows([row | {"rank": row["rank"] or "-"} for row in chosen["candidates"]], CANDIDATES)


def _state(state: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Return a state with its numbers; since when, where the default policy gives the same one."""
    is_same = values["state"] == state["state"] and values["since"]
    since = f" since {tables.local_time(values['since'])}" if is_same else ""
    return f"{state['state']}{since}: {state['reason']}"


def _show_turns(turns: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    if len(turns) > MOST_TURNS:
        answers.note(f"oblix: only the newest {MOST_TURNS} turns are shown; there are more before them.")
    if not turns:
        answers.note("oblix: no turn of this session has ended yet.")
    newest = turns[-MOST_TURNS:]
    if arguments.json:
        tables.show_json(newest)
        return
    _show_rows([_row(turn) for turn in newest], TURNS)


def _row(turn: Mapping[str, Any]) -> dict[str, object]:
    chosen = turn["routing_decision"]["model_routing"] if turn["routing_decision"] else None
    return {
        "time": tables.local_time(turn["timestamp"]),
        "prompt": tables.cut(turn["prompt"], PROMPT_CHARACTERS),
        "model": "failed" if turn["error"] else turn["model"] or "nobody",
        "rule": chosen["state"] if chosen else "-",
        "reason": _why(turn["error"], chosen),
    }


def _why(error: Mapping[str, str] | None, candidate: Mapping[str, Any] | None) -> str:
    if error:  # its message tells of all that were tried
        return f"{error['reason']}: {error['message']}"
    failed = [] if candidate is None else candidate["failed_attempts"]
    before = [f"{one['model']} failed first, {one['reason']}: {one['detail']}" for one in failed]
    changed = [] if candidate is None else [f"Of the request, {one}." for one in candidate["adaptations"]]
    return " ".join([candidate["reason"] if candidate else "", *before, *changed]).strip()


def _show_rows(rows: Sequence[Mapping[str, object]], keys: Sequence[str]) -> None:
    """Print a line for each in a pipe; on a terminal, put the last column below the others."""
    if not sys.stdout.isatty():
        tables.show_rows(rows, dict.fromkeys(keys, ""))
        return
    for row in rows:
        cells = [tables.cell(row[key]) for key in keys]
        print(_wrap("  ".join(cells[:-1]), 4))
        print(_wrap(f"    {cells[-1]}", 4))


def _wrap(words: str, indent: int) -> str:
    """Wrap a text for a terminal between words; leave it as it is for a pipe."""
    if not sys.stdout.isatty():
        return words
    return textwrap.fill(
        words,
        max(40, shutil.get_terminal_size().columns),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
