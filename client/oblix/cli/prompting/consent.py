"""Whether a prompt may go to a cloud model that nobody named: a person is asked once for each model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from oblix._convert.terminal_text import PLAIN, YELLOW
from oblix._launcher import paths
from oblix.cli.errors import CommandError
from oblix.cli.output import answers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from oblix.v1 import routing_pb2

FILE = "cloud-models"
QUESTION = "Send it? [y]es, and do not ask again for this model; [o]nce; [N]o: "
REFUSED = (
    "nothing was sent. --local-only keeps a prompt on this machine, --model NAME names who gets it, and "
    "`oblix config set routing.cloud no` forbids cloud models."
)


class Destination(NamedTuple):
    """Where a prompt would go."""

    model: str
    is_cloud: bool
    reason: str


def destination_of(decision: routing_pb2.RoutingDecision) -> Destination:
    """Return the model that a decision of the daemon ranks first."""
    from oblix.v1 import routing_pb2

    model = decision.model
    is_cloud = any(
        one.model == model and one.location == routing_pb2.LOCATION_CLOUD for one in decision.candidates
    )
    return Destination(model, is_cloud, decision.reason)


def destination_in(routes: Mapping[str, Any]) -> Destination:
    """Return the model that is first in what `OblixClient.explain` returned."""
    routing = routes["model_routing"]
    model = str(routing["target"])
    is_cloud = any(one["model"] == model and one["location"] == "cloud" for one in routing["candidates"])
    return Destination(model, is_cloud, routing["reason"])


def can_ask() -> bool:
    """Return whether a person is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def check(destination: Destination) -> None:
    """Ask a person at a terminal before a prompt leaves the machine. Raises CommandError for a no.

    Without a terminal nobody is asked.
    """
    model = destination.model
    if not destination.is_cloud or not can_ask() or model in _allowed_models():
        return
    from oblix.cli.keyboard import keyboard

    answers.note(f"This would go to {YELLOW}{model}, a cloud model{PLAIN}: {destination.reason}")
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
