"""Where prompts went: a lane for each model, those of this machine below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from oblix._convert.records import seconds_of
from oblix.cli.commands.service.plot import svg
from oblix.cli.commands.service.plot.series import BLUE, ORANGE
from oblix.cli.commands.service.plot.svg import Frame
from oblix.cli.output.tables import cell, word
from oblix.v1 import monitor_pb2, routing_pb2

MOST = 8
"""Models with a lane of their own: those that got the most prompts. The others share one."""
LANE, CHARACTERS = 26, 26
OTHERS = "other models"
HEADING = "where prompts went"
LEGEND = (
    "decided for: blue this machine, orange the cloud; answered by: full that model, hollow another one, "
    "cross nobody (yet)"
)
EMBEDDED = "embedded:"
"""How the names of models begin that run on this machine whatever was decided."""


def height(prompts: Sequence[monitor_pb2.RoutedPrompt]) -> int:
    """Pixels that the lanes take."""
    return LANE * max(1, len(_lanes(prompts)))


def draw(frame: Frame, prompts: Sequence[monitor_pb2.RoutedPrompt]) -> Iterator[str]:
    """Draw a mark for each prompt, in the lane of the model that answered, else of the chosen one."""
    yield svg.text((frame.left, frame.top - 24), HEADING, weight="bold")
    yield svg.text((frame.left, frame.top - 8), LEGEND)
    lanes = _lanes(prompts)
    if not lanes:
        middle = (frame.left + frame.width / 2, frame.top + frame.height / 2 + 4)
        yield svg.text(middle, "no prompt", anchor="middle", color="#888888")
    places = {model: frame.top + LANE * (number + 0.5) for number, model in enumerate(lanes)}
    for model, y in places.items():
        yield svg.line([(frame.left, y), (frame.left + frame.width, y)], "#e3e3e3", width=1)
        name = model if len(model) <= CHARACTERS else f"{model[: CHARACTERS - 1]}…"
        yield svg.text((frame.left + frame.width + 12, y + 4), name)
    for prompt in prompts:
        moment = prompt.route_time.ToMilliseconds() / 1e3
        x, _ = frame.at(moment, 0.0)
        y = places.get(_model(prompt), places.get(OTHERS, frame.top))
        yield _mark((x, y), prompt)


def _mark(at: svg.Point, prompt: monitor_pb2.RoutedPrompt) -> str:
    if not prompt.answered_by:
        return svg.cross(at, _color(prompt), title=_title(prompt))
    return svg.dot(at, _color(prompt), hollow=prompt.answered_by != prompt.model, title=_title(prompt))


def _lanes(prompts: Sequence[monitor_pb2.RoutedPrompt]) -> list[str]:
    counts = Counter(map(_model, prompts))
    common = [model for model, _ in counts.most_common(MOST)]
    local = {prompt.model for prompt in prompts if _is_local(prompt)}
    ordered = sorted(common, key=lambda model: (model in local or model.startswith(EMBEDDED), model))
    return [*ordered, OTHERS] if len(counts) > MOST else ordered


def _model(prompt: monitor_pb2.RoutedPrompt) -> str:
    return cell(prompt.answered_by or prompt.model or "no model")


def _is_local(prompt: monitor_pb2.RoutedPrompt) -> bool:
    return prompt.location == routing_pb2.LOCATION_LOCAL


def _color(prompt: monitor_pb2.RoutedPrompt) -> str:
    return BLUE if _is_local(prompt) else ORANGE


def _title(prompt: monitor_pb2.RoutedPrompt) -> str:
    place = word(routing_pb2.Location.Name(prompt.location), "LOCATION_")
    took = ""
    if prompt.HasField("time_to_first_token"):
        took = f", first token after {1e3 * seconds_of(prompt.time_to_first_token):.0f} ms"
    answered = prompt.answered_by or "nobody"
    return f"decided for {prompt.model} ({place}), {prompt.rule}; answered by {answered}{took}"
