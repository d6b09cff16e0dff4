"""Whether a prompt may go to a cloud model that nobody named: a person is asked once for each model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from oblix._convert.terminal_text import PLAIN, YELLOW
from oblix._launcher import paths
from oblix.cli.errors import CommandError
from oblix.cli.keyboard import keyboard

FILE = "cloud-models"
QUESTION = "Send it? [y]es, and do not ask again for this model; [o]nce; [N]o: "
REFUSED = (
    "nothing was sent. --local-only keeps a prompt on this machine, --model NAME names who gets it, and "
    " `oblix config set routing.cloud no` forbids cloud models."
)


def is_cloud(routes: Mapping[str, Any]) -> bool:
    """Return whether the model that a decision names first runs in the cloud."""
    routing = routes["model_routing"]
    return any(
        one["model"] == routing["target"] and one["location"] == "cloud" for one in routing["candidates"]
    )


def can_ask() -> bool:
    """Return whether a person is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def check(routes: Mapping[str, Any]) -> None:
    """Ask a person at a terminal before a prompt leaves the machine. Raises CommandError for a no.

    Without a terminal nobody is asked.
    """
    if not is_cloud(routes):
        return
    model = str(routes["model_routing"]["target"])
    if not can_ask() or model in _allowed_models():
        return
    reason = routes["model_routing"]["reason"]
    print(f"This would go to {YELLOW}{model}, a cloud model{PLAIN}: {reason}", file=sys.stderr)
    answer = keyboard.question(QUESTION)
    if answer in {"y", "yes"}:
        _allow(model)
    elif answer not in {"o", "once"}:
        raise CommandError(REFUSED)


def _allowed_models() -> set[str]:
    try:
        return set(paths.log_path().with_name(FILE).read_text("utf-8").splitlines())
    except (OSError, ValueError, paths.PathError):
        return set()


def _allow(model: str) -> None:
    path = paths.log_path().with_name(FILE)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{model}\n")
