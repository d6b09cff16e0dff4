"""`oblix explain`: where a prompt would go now, or went, and why."""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Mapping
from typing import Any

from oblix import OblixClient
from oblix.cli import hooks, numbers, output
from oblix.cli.words import question

EPILOG = """examples:
  oblix explain "Why is the sky blue?"
  oblix explain --policy fastest --max-cost 0.01 "Why is the sky blue?"
  oblix explain 01a20478-722c-7ed5-a194-3369302ec6b5

Nothing is sent to a model or recorded. One word that is a session's id tells of that session's turns."""
CANDIDATES = {"rank": "RANK", "model": "MODEL", "location": "RUNS", "rule": "RULE", "reason": "WHY"}
TURNS = {"time": "WHEN", "prompt": "PROMPT", "model": "ANSWERED BY", "rule": "RULE", "reason": "WHY"}
PROMPT_CHARACTERS = 40
SESSION_ID = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,127}")
"""What the daemon takes for an id. A single dash is standard input."""

Decision = Mapping[str, Mapping[str, Any]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("words", nargs="*", metavar="PROMPT", help="the prompt, or a session's id")
    parser.add_argument("--session", metavar="ID", help="as the next prompt of this session")
    hooks.add_model(parser)
    hooks.add_policy(parser)
    parser.add_argument(
        "--max-cost", metavar="X", type=numbers.max_cost, help="the most that the answer may cost"
    )
    parser.add_argument(
        "--max-tokens", metavar="N", type=numbers.max_tokens, help="the most that the model may write"
    )
    parser.add_argument("--local-only", action="store_true", help="let no cloud model see it")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the decision, or those of a session's turns."""
    if (turns := _turns(arguments.words)) is not None:
        _show_turns(turns, arguments)
        return
    decision, machine, network = asyncio.run(_explained(question(arguments.words), arguments))
    if arguments.json:
        output.show_json(decision)
        return
    _show(decision, machine, network)


def _turns(words: list[str]) -> list[dict[str, Any]] | None:
    """The turns of the session that a single word names; None where it names none."""
    if len(words) != 1 or not SESSION_ID.fullmatch(words[0]):
        return None
    return OblixClient().explain_session(words[0])


async def _explained(
    prompt: str, arguments: argparse.Namespace
) -> tuple[Decision, Mapping[str, Any], Mapping[str, Any]]:
    options = {name: getattr(arguments, name) for name in ("policy", "max_cost", "max_tokens")}
    async with OblixClient() as client:
        decision = await client.explain(
            prompt,
            arguments.session,
            model=await hooks.hook(client, arguments),
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
        print(f"{name:<8} {output.for_terminal(value)}")
    print()
    output.show_rows([row | {"rank": row["rank"] or "-"} for row in chosen["candidates"]], CANDIDATES)


def _state(found: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    """A state with its numbers; since when, where the default thresholds give the same one."""
    is_same = measured["state"] == found["state"] and measured["since"]
    since = f" since {output.local_time(measured['since'])}" if is_same else ""
    return f"{found['state']}{since}: {found['reason']}"


def _show_turns(turns: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    if arguments.json:
        output.show_json(turns)
        return
    output.show_rows([_row(turn) for turn in turns], TURNS)


def _row(turn: Mapping[str, Any]) -> dict[str, object]:
    chosen = turn["routing_decision"]["model_routing"]
    return {
        "time": output.local_time(turn["timestamp"]),
        "prompt": output.cut(turn["prompt"], PROMPT_CHARACTERS),
        "model": turn["model"],
        "rule": chosen["state"],
        "reason": chosen["reason"],
    }
