"""Changes a request that a model's server refuses, once for each thing, and remembers that for the model.

Servers that speak the same calls differ in the fields that they take: one wants `max_tokens`, the other
`max_completion_tokens`; one has no `stream_options`, the next no `temperature`. Nobody can know that of a
server beforehand, and every one of them says it in its refusal. So the refusal is read: where it names a
field that is in the request and can be changed without changing what is asked, it is. What changes
the question, such as a schema or tools, is never left out.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from oblixd.models.conversation_rules import rules_for
from oblixd.models.http.refusals import Refusal
from oblixd.models.http.server import RefusalError
from oblixd.patterns import pattern

Body = dict[str, Any]

MOST_MODELS = 1000
"""Models whose changes are remembered. The one that was not used for longest is forgotten."""
LEAST_ROOM = 256
"""Tokens of an answer that are worth asking for where the context leaves no more."""
_SLACK = 16
"""Tokens that stay free: servers count a context again for each request, and not always alike."""
_JUDGED = 4000
_STATUSES = {0, 400, 404, 413, 422, 500, 501}
"""Statuses that a field is refused with. 0 is an error inside a stream."""

_NOT_TAKEN = pattern(
    r"unsupported|not (be )?supported|n't supported|does(n't| not) support|unknown|unrecogni[sz]ed"
    r"|unexpected|extraneous|not (permitted|allowed|recogni[sz]ed|available|enabled|accepted)|extra inputs"
    r"|not a valid (field|param)|expected tags"
    r"|extra_forbidden|cannot find field|no such (field|parameter)|invalid (field|parameter|argument|key)"
    r"|deprecated|only the default|may only be set|can(not|'t) (both )?be (used|set|specified)|instead"
    r"|incompatible"
    r"|additional propert|not (yet )?implemented|removed|is not (a )?(property|field)|disabled"
)
"""How servers say that they do not take a field. That a value is out of range is another thing."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is changed in every request to a model."""

    key: str
    """What it changes: no two changes of one model have the same."""
    note: str
    """What was done, for a person."""
    apply: Callable[[Body], Body]
    """Makes the changed request. It leaves the one it was given as it was."""
    is_lasting: bool = True
    """Whether later requests need it, too."""


class Adaptation:
    """What is changed in the requests to one model."""

    def __init__(self) -> None:
        self.speaks_responses = False
        """The model answers only the calls of /v1/responses."""
        self._changes: dict[str, Change] = {}

    def attempt(self) -> Attempt:
        """Begin a request."""
        return Attempt(self, self._changes)


class Attempt:
    """The changes of one request: those of its model, and those that only it needs."""

    def __init__(self, adaptation: Adaptation, changes: dict[str, Change]) -> None:
        self._adaptation = adaptation
        self._lasting = changes
        self._own: dict[str, Change] = {}
        self.before: RefusalError | None = None
        """How the server refused the request before it was sent to /v1/responses."""
        self.notes: tuple[str, ...] = ()
        """What was changed in the request that was sent last, for a person."""

    def apply(self, body: Body) -> Body:
        """Change a request as is known by now."""
        notes: list[str] = []
        for change in (*self._lasting.values(), *self._own.values()):
            changed = change.apply(body)
            if changed != body:
                notes.append(change.note)
            body = changed
        self.notes = tuple(notes)
        return body

    def learn(self, refusal: Refusal, body: Body) -> bool:
        """Hear how the server refused this request. True: another form of it is worth sending."""
        if refusal.gateway or refusal.status not in _STATUSES:
            return False
        for change in _changes_for(refusal, body):
            known = self._lasting if change.is_lasting else self._own
            if change.key not in known and change.apply(body) != body:
                known[change.key] = change
                return True
        return False


class Adaptations:
    """The adaptations of all models, by the server's endpoint and the model's name."""

    def __init__(self, most: int = MOST_MODELS) -> None:
        self._most = most
        self._by_model: OrderedDict[tuple[str, str], Adaptation] = OrderedDict()

    def of(self, endpoint: str, model: str) -> Adaptation:
        """Give a model's adaptation, the same one each time."""
        known = self._by_model.setdefault((endpoint, model), Adaptation())
        self._by_model.move_to_end((endpoint, model))
        if len(self._by_model) > self._most:
            self._by_model.popitem(last=False)
        return known


def _changes_for(refusal: Refusal, body: Body) -> Iterator[Change]:
    words = refusal.words[:_JUDGED].lower()
    yield from _turns(words, body)
    yield from _room(words, body)
    yield from _limits(words, body)
    if not _NOT_TAKEN.search(" ".join((words, *refusal.codes)).lower()):
        return
    for field in _FIELDS:
        if field.name in body and _names(words, refusal, field.names or (field.name,)):
            # What only goes with thinking is tried again without it.
            lasts = "thinking is enabled" not in words
            yield from (replace(change, is_lasting=lasts) for change in field.changes())
    if re.search(r"\bstrict\b", words):
        yield Change("strict", "`strict` was left out: the server does not take it", _without_strict)
    if re.search(r"\bstream(ing)?\b(?!_options)", words) and body.get("stream"):
        yield Change("stream", "the answer came in one piece: the server does not stream it", _without_stream)


def _turns(words: str, body: Body) -> Iterator[Change]:
    """Yield the forms of the conversation that the refusal asks for."""
    for rule in rules_for(words, body):
        yield Change(rule.key, rule.note, rule.rewrite, rule.is_lasting)


def _names(words: str, refusal: Refusal, names: tuple[str, ...]) -> bool:
    """Return whether the refusal is about a field: it is named in the words, or for programs."""
    return any(
        name in refusal.codes or re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words) for name in names
    )


@dataclass(frozen=True, slots=True)
class _Field:
    """A field that can be changed without changing what is asked."""

    name: str
    other: str = ""
    """The name that other servers know it by. What has one is never left out."""
    names: tuple[str, ...] = ()
    """What refusals call it, where that is not its own name alone."""
    forms: tuple[Callable[[Body], Body], ...] = ()
    """Other forms that take more than another name, in the order of trying."""
    stays: bool = False
    """It holds more than what is refused, and is not left out as a whole."""

    def changes(self) -> Iterator[Change]:
        """Give what can be done, the best first."""
        if self.other:
            note = f"`{self.name}` was sent as `{self.other}`, as the server wants it"
            yield Change("name of the limit", note, lambda body: _rename(body, self.name, self.other))
            return
        for number, form in enumerate(self.forms):
            yield Change(f"{self.name}#{number}", f"`{self.name}` was sent in another form", form)
        if self.stays:
            return
        note = f"`{self.name}` was left out: the server does not take it"
        yield Change(f"-{self.name}", note, lambda body: _leave_out(body, self.name))


def _with_budget(body: Body) -> Body:
    """Claude's older models think by a number of tokens, the newer by an effort."""
    effort = body.get("output_config", {}).get("effort", "medium")
    if body.get("thinking", {}).get("type") != "adaptive":
        return body
    budget = min(BUDGETS[effort], body["max_tokens"] - LEAST_ROOM)
    if budget < _LEAST_BUDGET:
        return _leave_out(body, "thinking", "output_config.effort")
    rest = _leave_out(body, "output_config.effort", "temperature", "top_p")
    return {**rest, "thinking": {"type": "enabled", "budget_tokens": budget}}


def _without_effort(body: Body) -> Body:
    return _leave_out(body, "output_config.effort")


def _lowest_effort(body: Body) -> Body:
    """OpenAI's models before GPT-5.1 can't stop thinking; the least that they take has another name."""
    return {**body, "reasoning_effort": "minimal"} if body.get("reasoning_effort") == "none" else body


def _low_effort(body: Body) -> Body:
    lowest = body.get("reasoning_effort") in {"none", "minimal"}
    return {**body, "reasoning_effort": "low"} if lowest else body


def _xhigh_effort(body: Body) -> Body:
    return {**body, "reasoning_effort": "xhigh"} if body.get("reasoning_effort") == "max" else body


def _high_effort(body: Body) -> Body:
    return {**body, "reasoning_effort": "high"} if body.get("reasoning_effort") in {"xhigh", "max"} else body


BUDGETS = {"low": 2048, "medium": 8192, "high": 24_576, "max": 60_000}
"""Tokens of thinking for an effort, for models that are told a number."""
_LEAST_BUDGET = 1024
"""Claude takes no smaller one."""
_MAX_TOKENS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_FIELDS = (
    _Field("max_tokens", "max_completion_tokens"),
    _Field("max_completion_tokens", "max_tokens"),
    _Field("stream_options", names=("stream_options", "include_usage")),
    _Field("thinking", names=("thinking", "adaptive"), forms=(_with_budget,)),
    _Field(
        "output_config", names=("output_config", "effort"), forms=(_with_budget, _without_effort), stays=True
    ),
    _Field(
        "reasoning_effort",
        names=("reasoning_effort", "reasoning.effort"),
        forms=(_lowest_effort, _low_effort, _xhigh_effort, _high_effort),
    ),
    _Field("reasoning"),
    _Field("chat_template_kwargs"),
    _Field("think", names=("think", "thinking")),
    _Field("enable_thinking"),
    _Field("top_p"),
    _Field("temperature"),
    _Field("seed"),
    _Field("parallel_tool_calls"),
)
"""The order decides where a refusal names several, as in "temperature and top_p cannot both be given"."""


def _rename(body: Body, old_name: str, new_name: str) -> Body:
    return {(new_name if key == old_name else key): value for key, value in body.items()}


def _leave_out(body: Body, *paths: str) -> Body:
    """Leave out fields, given as `name` or `name.inner`."""
    result = dict(body)
    for path in paths:
        name, _, inner = path.partition(".")
        if inner and isinstance(result.get(name), dict):
            rest = {key: value for key, value in result[name].items() if key != inner}
            result[name] = rest
        if not inner or not result.get(name):
            result.pop(name, None)
    return result


def _without_strict(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_strict(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        # The schema's own properties may be called so.
        key: one if key in {"schema", "parameters", "messages", "input"} else _without_strict(one)
        for key, one in value.items()
        if key != "strict"
    }


def _without_stream(body: Body) -> Body:
    return {**_leave_out(body, "stream_options"), "stream": False}


_LIMITS = (
    # Anthropic; OpenAI; DeepSeek and DashScope; Groq; Mistral and others.
    pattern(r"max_tokens: \d+ > (\d+), which is the maximum"),
    pattern(r"supports at most (\d+) (?:completion|output) tokens"),
    pattern(r"max_\w*tokens\b.{0,60}\[\d+, ?(\d+)\]"),
    pattern(r"max_\w*tokens\b.{0,40}less than or equal to `?(\d+)"),
    pattern(r"max_\w*tokens\b.{0,60}(?:at most|not exceed|exceeds? the (?:limit|maximum) of) `?(\d+)"),
    pattern(r"max_\w*tokens\b.{0,60}maximum (?:is|of|value is|allowed is) `?(\d+)"),
)
_LEFT_FOR_ANSWER = (
    # Anthropic; vLLM and OpenAI; text-generation-inference.
    pattern(r"exceed context limit: (?P<input>\d+) \+ \d+ > (?P<window>\d+)"),
    pattern(
        r"maximum context length is (?P<window>\d+) tokens.{0,60}"
        r"\((?P<input>\d+) (?:in|of|from) [^)]*?, ?\d+ in"
    ),
    pattern(r"passed (?P<input>\d+) input tokens and requested .{0,80}length is only (?P<window>\d+)"),
    pattern(r"must be <= (?P<window>\d+)\. given: (?P<input>\d+) `inputs` tokens"),
)


def _limits(words: str, body: Body) -> Iterator[Change]:
    """Yield the model writes no more than so many tokens in one answer."""
    found = next((match for limit in _LIMITS if (match := limit.search(words))), None)
    name = next((name for name in _MAX_TOKENS if name in body), "")
    if found and name and 0 < int(found[1]) < body[name]:
        most = int(found[1])
        note = f"`max_tokens` was lowered to {most:,}, the most that the model writes"
        yield Change("limit", note, lambda body: _lower(body, most))


def _room(words: str, body: Body) -> Iterator[Change]:
    """Yield the context leaves less room for the answer than was asked for."""
    found = next((match for room in _LEFT_FOR_ANSWER if (match := room.search(words))), None)
    if found and any(name in body for name in _MAX_TOKENS):
        room = int(found["window"]) - int(found["input"]) - _SLACK
        if room >= LEAST_ROOM:
            note = f"`max_tokens` was lowered to {room:,}, what the context leaves of the model's window"
            yield Change("room", note, lambda body: _lower(body, room), is_lasting=False)


def _lower(body: Body, most: int) -> Body:
    return {key: min(value, most) if key in _MAX_TOKENS else value for key, value in body.items()}
