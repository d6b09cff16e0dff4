"""Tells whether a server refuses a request for what it holds: for what a message says, or for its length.

Only such a refusal leaves a message out of later contexts. It must be a status of wrong requests,
and its words must name content, an image or a policy. A refusal about parameters, roles, the length
of the context, quotas or keys marks nothing, and neither does one that nobody knows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from oblixd.models.base import ModelError, ModelErrorKind
from oblixd.models.http.server import RefusalError
from oblixd.patterns import pattern

_STATUSES = {0, 400, 403, 404, 413, 422, 500}
"""What is no wrong request is told apart by its kind. 0 is an error inside a stream that had begun well."""

_FORM = pattern(
    r"\b(parameter|unknown (name|field)|extra inputs|unrecogni[sz]ed|max_\w*tokens|temperature|top_p"
    r"|tool_choice|role|alternat\w*|tool_use|tool_result|tool_calls?|tool call|api key|quota|rate limit"
    r"|billing|schema)\b"
    r"|reasoning_content|thought_?\s?signature|thinking`? .{0,40}block|invalid model|\bjson\b"
)
"""What is about the form of a request. Beside such words, those of content name no content."""
_POLICY = pattern(
    r"content[ _-]?(policy|filter|management|moderation|safety|exists risk)"
    r"|safety (system|polic|setting|filter)|(usage|use|acceptable use|content|safety) polic(y|ies)"
    r"|policy violation|violat\w* .{0,60}polic|moderation|flagged|inappropriate"
    r"|sensitive (content|information|word)|unsafe content|harmful|prohibited (content|use)"
    r"|blocked by|responsible ?ai|data_?inspection|guardrail|risk control"
    r"|不安全|敏感|违规|风险"
)
_POLICY_CODES = pattern(
    r"content_?(policy|filter|violation)|moderation|safety|responsibleai|data_?inspection|sensitive|jailbreak"
)
_IMAGE = pattern(
    r"\bimages?\b|\bpictures?\b|image_url|\bpixels?\b|\bvision\b|multi-?modal|mime ?type|media[_ ]type|base64"
)
_CONTENT = pattern(
    r"content (block|part)s?\b.{0,60}\b(must|empty|non-?whitespace|invalid|not)|invalid (message )?content"
    r"|content .{0,40}(could not|cannot|can't|is not|isn't) (be )?(processed|decoded|accepted|allowed|valid)"
    r"|(messages?|prompt|input|text) .{0,40}(contain|include)s? .{0,40}(invalid|unsupported|disallowed)"
    r"|special tokens?|invalid (unicode|utf|character|surrogate)|null (byte|character)|\\u0000"
)
_UNSUPPORTED = pattern(
    r"(not|n't|no|without|un)[ -]?(support\w*|able|capab\w*|accept\w*).{0,60}(image|vision|multi-?modal)"
    r"|(image|vision|multi-?modal)\w*( input)? .{0,30}(not|n't|un) ?(be )?(support|accept|available|enabled)"
    r"|unknown variant `?image_url|only text|text[- ]only|no endpoints found that support image"
)
"""It is the model that takes no images, whatever they show."""
IMAGE_REFUSED = "IMAGE_REFUSED"


@dataclass(frozen=True, slots=True)
class ContentRefusal:
    """A refusal of what a message holds."""

    reason: str
    """IMAGE_REFUSED, POLICY_REFUSED or CONTENT_REFUSED: the reason of the message's mark."""
    is_unsupported: bool = False
    """The model takes none of the kind: another model may take this one."""


def content_refusal(error: ModelError) -> ContentRefusal | None:
    """Read a failure; None where it is no refusal of content."""
    if error.kind is not ModelErrorKind.REFUSED or not isinstance(error, RefusalError):
        return None
    refusal = error.refusal
    words, codes = refusal.words.lower(), " ".join(refusal.codes).lower()
    if refusal.status not in _STATUSES or refusal.gateway:
        return None
    reason = _reason(words, codes)
    if not reason and refusal.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        # Texts of that size are an overflow. Gateways send a page that names nothing.
        reason = IMAGE_REFUSED
    return ContentRefusal(reason, _UNSUPPORTED.search(words) is not None) if reason else None


def _reason(words: str, codes: str) -> str:
    if _POLICY_CODES.search(codes) or _POLICY.search(words):
        return "POLICY_REFUSED"
    if _FORM.search(words):
        return ""
    if _IMAGE.search(words):
        return IMAGE_REFUSED
    return "CONTENT_REFUSED" if _CONTENT.search(words) else ""


WITHOUT_NUMBERS = 0.6
"""What is kept of a context that is too long, where the refusal tells no numbers."""
SLACK = 0.9
"""What is used of the room that the numbers tell: servers and we do not count alike."""
_LEAST_SHARE, _MOST_SHARE = 0.05, 0.9
_LIMIT = pattern(
    r"(?:maximum|limit|length|window|allowed|size|only|less than|at most)\D{0,40}?(\d[\d,]{2,})"
    r"|(\d[\d,]{2,})\D{0,24}(?:limit|maximum|allowed)",
    re.IGNORECASE,
)
_NUMBER = pattern(r"\d[\d,]{2,}")


def share_that_fits(error: ModelError) -> float | None:
    """Return what share of the context its server would take. None: it does not call the context too long."""
    if error.kind is not ModelErrorKind.CONTEXT_OVERFLOW or not isinstance(error, RefusalError):
        return None
    words = error.refusal.words
    limit = next((_count(match[1] or match[2]) for match in _LIMIT.finditer(words)), 0)
    numbers = [_count(number) for number in _NUMBER.findall(words)]
    if not limit or max(numbers) <= limit:
        return WITHOUT_NUMBERS
    return min(_MOST_SHARE, max(_LEAST_SHARE, limit / max(numbers) * SLACK))


def _count(number: str) -> int:
    return int(number.replace(",", ""))
