"""Reads what a server says where it refuses a request, and tells what kind of refusal that is.

Servers agree on little: the same fault is a status here, a code there, and a sentence elsewhere.
So the words are taken out of whatever shape they come in, and everything that is known about the
sentences of real servers stands in the tables of this module. It knows no provider and does no I/O.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from oblixd.models.base import ModelErrorKind
from oblixd.models.http.retry_delay import retry_delay_s

_DEEPEST = 6
"""Levels of nesting that are read of an error."""
_JUDGED = 4000
"""Characters of the words that are looked at."""
_MOST_SENTENCES = 4
"""Sentences of one error that are quoted. A validation can list hundreds."""
_WORDS = (
    "error",
    "errors",
    "message",
    "messages",
    "msg",
    "detail",
    "details",
    "error_message",
    "errorMessage",
    "error_msg",
    "status_msg",
    "error_description",
    "description",
    "reason",
    "cause",
    "fault",
    "faultstring",
    "title",
)
"""The keys that hold words or something that does, the most telling first."""
_CODES = ("type", "code", "status", "error_code", "errorCode", "reason", "name", "__type")
_XML_WORDS = re.compile(
    r"<(?:\w+:)?(message|faultstring|detail|description|reason|title|h1)\b[^>]*>([^<]+)<", re.IGNORECASE
)
_XML_CODES = re.compile(r"<(?:\w+:)?(code|faultcode|type)\b[^>]*>([^<]+)<", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server answered in place of an answer."""

    status: int
    """The HTTP status; 0 for an error inside a stream that had begun well."""
    words: str
    """Its own sentences, in one line. Empty where it said none that a person wants to read."""
    codes: frozenset[str] = frozenset()
    """What it says for programs: types, codes and names."""
    gateway: str = ""
    """Who answered in the server's place, as a sentence names it. Empty: the server itself."""
    retry_after_s: float | None = None
    """When to come back, where the body says it. Headers are read elsewhere."""

    @classmethod
    def read(cls, status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
        """Read the answer to a request that was refused."""
        text = body.decode("utf-8", "replace").strip()
        try:
            error: object = json.loads(text)
        except (ValueError, RecursionError):
            return cls._of_text(status, headers, text)
        return cls(
            status, _sentence(error), frozenset(_codes(error)), _gateway_of(headers), retry_delay_s(text)
        )

    @classmethod
    def from_event(cls, error: object) -> Refusal:
        """Read an error object inside a stream."""
        codes = frozenset(_codes(error))
        return cls(0, _sentence(error), codes, retry_after_s=retry_delay_s(json.dumps(error, default=str)))

    @classmethod
    def _of_text(cls, status: int, headers: Mapping[str, str], text: str) -> Refusal:
        if not _is_markup(text):
            return cls(status, text, frozenset(), _gateway(status, headers, text), retry_delay_s(text))
        is_page = re.match(r"<!doctype html|<html|<head|<body|<center", text, re.IGNORECASE) is not None
        found = [html.unescape(" ".join(words.split())) for _, words in _XML_WORDS.findall(text)]
        codes = frozenset(code.strip() for _, code in _XML_CODES.findall(text))
        words = "; ".join(dict.fromkeys(found[: 1 if is_page else _MOST_SENTENCES]))
        return cls(status, words, codes, _gateway(status, headers, text) if is_page else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What kind of refusal it is, and what to do about it."""

    kind: ModelErrorKind
    remedy: str = ""
    """The next step, where it is another one than the kind's own."""
    what: str = ""
    """What is said in place of `answered STATUS`, where that says more."""


PAY = "Pay in at the provider, or use another model: waiting does not help"
_SEND_LESS = "Send less: fewer messages, shorter ones or smaller images"
_REGION = "The provider does not serve the country that this machine reaches it from: use another model"
_ASK_LESS = (
    "Change what the sentence names, in the request or in the provider's settings, or use another model"
)
_ACCESS = "The account of this key may not use the model: get access to it, or use another model"
_FREE = "The server lacks memory: unload other models there, or use a smaller one"
_LOAD = "Load the model at its server, or use another one"
_SIGN_IN = "Run `ollama signin` on the machine of the server, or use another model"
_PATH = "The endpoint's path may be wrong: check the URL that the model was hooked with"
_COMPLETIONS = (
    "The model is there, but not for chat completions, nor was it found at /v1/responses: use another model"
)


_BY_CODE = {
    "context_length_exceeded": ModelErrorKind.CONTEXT_OVERFLOW,
    "context_overflow": ModelErrorKind.CONTEXT_OVERFLOW,
    "context_window_exceeded": ModelErrorKind.CONTEXT_OVERFLOW,
    "exceed_context_size_error": ModelErrorKind.CONTEXT_OVERFLOW,
    "model_max_prompt_tokens_exceeded": ModelErrorKind.CONTEXT_OVERFLOW,
    "authentication_error": ModelErrorKind.UNAUTHENTICATED,
    "permission_error": ModelErrorKind.UNAUTHENTICATED,
    "invalid_api_key": ModelErrorKind.UNAUTHENTICATED,
    "unauthenticated": ModelErrorKind.UNAUTHENTICATED,
    "permission_denied": ModelErrorKind.UNAUTHENTICATED,
    "api_key_invalid": ModelErrorKind.UNAUTHENTICATED,
    "model_not_found": ModelErrorKind.NOT_PULLED,
    "model_not_available": ModelErrorKind.NOT_PULLED,
    "invalid_model": ModelErrorKind.NOT_PULLED,
    "deploymentnotfound": ModelErrorKind.NOT_PULLED,
    "insufficient_quota": ModelErrorKind.NO_CREDIT,
    "exceeded_current_quota_error": ModelErrorKind.NO_CREDIT,
    "billing_error": ModelErrorKind.NO_CREDIT,
    "billing_hard_limit_reached": ModelErrorKind.NO_CREDIT,
    "billing_not_active": ModelErrorKind.NO_CREDIT,
    "payment_required": ModelErrorKind.NO_CREDIT,
    "credit_limit": ModelErrorKind.NO_CREDIT,
    "arrearage": ModelErrorKind.NO_CREDIT,
    "budget_exceeded": ModelErrorKind.NO_CREDIT,
    "insufficient_user_quota": ModelErrorKind.NO_CREDIT,
    "1113": ModelErrorKind.NO_CREDIT,
    "rate_limit_error": ModelErrorKind.RATE_LIMITED,
    "rate_limit_exceeded": ModelErrorKind.RATE_LIMITED,
    "resource_exhausted": ModelErrorKind.RATE_LIMITED,
    "throttlingexception": ModelErrorKind.RATE_LIMITED,
    "engine_overloaded_error": ModelErrorKind.OVERLOADED,
    "overloaded": ModelErrorKind.OVERLOADED,
    "overloaded_error": ModelErrorKind.OVERLOADED,
    "unavailable": ModelErrorKind.OVERLOADED,
    "invalid_argument": ModelErrorKind.REFUSED,
}
"""What programs are told, in lower case. A number is one of a "
"provider's own list: 1113 is Zhipu's empty account."""
_BY_STATUS = {
    401: ModelErrorKind.UNAUTHENTICATED,
    402: ModelErrorKind.NO_CREDIT,
    403: ModelErrorKind.UNAUTHENTICATED,
    404: ModelErrorKind.WRONG_PATH,
    405: ModelErrorKind.WRONG_PATH,
    407: ModelErrorKind.UNREACHABLE,
    408: ModelErrorKind.UNREACHABLE,
    424: ModelErrorKind.FAILED,
    429: ModelErrorKind.RATE_LIMITED,
    501: ModelErrorKind.REFUSED,
    502: ModelErrorKind.UNREACHABLE,
    503: ModelErrorKind.OVERLOADED,
    504: ModelErrorKind.UNREACHABLE,
    529: ModelErrorKind.OVERLOADED,
}
_CLOUDFLARE = {
    520: "the model's server sent it an answer that it could not read",
    521: "the model's server refuses its connections",
    522: "the model's server does not take its connections",
    523: "it has no way to the model's server",
    524: "the model's server took the request and did not answer in time",
    525: "it could not agree on TLS with the model's server",
    526: "the model's server has no valid certificate",
    527: "its link to the model's server failed",
    530: "it can't find the model's server",
}
"""Cloudflare's own statuses: developers.cloudflare.com, "Cloudflare 5xx errors". 529 is Anthropic's."""

_MORE = r"(exceed\w*|surpass\w*|(longer|larger|greater|bigger|more) than|over(flow|run)\w*|> ?(max\w* )?\d)"
_GENERAL = (
    r"\b(prompt|input|conversation|context|messages|history|request) (is |are |was )?too (long|large|big)\b",
    r"context[_ ](window |length |size )?(overflow|exceeded)|too many (input |prompt |context )?tokens",
    r"token limit (is |was )?exceeded|maximum number of input tokens",
    r"context window is .{0,20}, you requested",
    rf"\b(input|prompt|context|total|number of)[ _].{{0,40}}\btokens?\b.{{0,40}}{_MORE}",
    rf"\b(total|input|prompt|request\w*)\b.{{0,20}}\btokens?\b.{{0,40}}{_MORE}",
    rf"\b(input|prompt|total)_tokens.{{0,20}}{_MORE}",
    (
        rf"{_MORE}.{{0,60}}\b(context|window|n_ctx|token limit"
        r"|(input|prompt|model|sequence)[ _](length|limit|size)"
        r"|max\w*[ _](allowed )?(input|prompt|context|seq\w*|model|token)\w*)"
    ),
    r"\b(n_ctx|context (length|window|size)) exceeded|context length is only \d+",
    r"maximum allowed tokens is \d+ but got",
)
"""What the sentences above have in common, for the servers that are not in the list."""
_OTHER_THINGS = re.compile(
    r"\b(images?|files?|audio|video|descriptions?|names?|strings?|headers?|metadata|tools|stop sequences"
    r"|schema|too small)\b"
)
"""What else can be too long or too many. A sentence about one of these is none about the context."""
_OVERFLOW = re.compile(
    "|".join(
        (
            r"prompt is too long",  # Anthropic: microsoft/vscode#293191
            r"exceed context limit",  # Anthropic, with max_tokens: docker/docker-agent#569
            r"maximum context length",  # OpenAI, vLLM, OpenRouter, Mistral: vllm-project/vllm#20409
            r"exceeds? the context window",  # OpenAI's responses; llama-cpp-python#120 without the article
            r"input tokens exceed the configured limit",  # OpenAI's newer models: letta-ai/letta
            r"longer than the model's context length",  # SGLang: QwenLM/Qwen3#1321
            r"when context the overflows",  # LM Studio: lmstudio-ai/lmstudio-bug-tracker#546
            r"context size has been exceeded",  # LM Studio on MLX: lmstudio-ai/lmstudio-bug-tracker#2339
            r"input token count.{0,40}exceeds the maximum",  # Gemini: anomalyco/opencode#27519
            r"prompt token count of \d+ exceeds the limit",  # GitHub Copilot: jjleng/copilot-more#35
            r"range of input length should be",  # DashScope: QwenLM/qwen-code#98
            r"`?inputs`? tokens \+ `?max_new_tokens`? must be",  # TGI: huggingface/chat-ui#340
            r"`?inputs`? must have less than \d+ tokens",  # TGI: huggingface/text-generation-inference#937
            r"input \(\d+ tokens\) is too large to process",  # llama.cpp's embeddings, tools/server
            r"exceeds the available context size",  # llama.cpp, tools/server/server.cpp
            r"exceeds the context length",  # Ollama, server/routes.go
            r"exceeded max context length",  # Ollama's runners: ollama/ollama, "prompt too long"
            r"prompt exceeds maximum context",  # mlx-serve: ddalcu/mlx-serve#66
            r"input length \d+ exceeds context length",  # LM Studio: lmstudio-ai/model-catalog#38
            r"too long and exceeds limit of \d+",  # vLLM's scheduler: vllm-project/vllm#10440
            r"exceeds? context window",  # llama-cpp-python: abetlen/llama-cpp-python#120
            r"reduce the length of the input prompt",  # vLLM: anomalyco/opencode#17746
            r"reduce the length of the messages",  # Groq, Cerebras: zhy0216/pigo, overflow.ts
            r"maximum prompt length is \d+",  # xAI: zhy0216/pigo, overflow.ts
            r"input is too long for requested model",  # Bedrock: zhy0216/pigo, overflow.ts
            r"context window exceeds limit",  # MiniMax: zhy0216/pigo, overflow.ts
            r"exceeded model token limit",  # Kimi: zhy0216/pigo, overflow.ts
            r"greater than the context length",  # LM Studio: zhy0216/pigo, overflow.ts
            r"tokens in request more than max tokens allowed",  # MoonshotAI/kimi-code#207
            r"too many tokens: ",  # Cohere
            r"exceeds model max length",  # OpenVINO Model Server
            r"length of prompt_tokens \(\d+\) must be less than",  # SiliconFlow
            r"context (window|length) exceeded",  # gateways: zimmra/openclaw
            r"exceeds? (the )?model('s)? context window",  # Anthropic through gateways: None9527/NGOClaw
            r"prompt.{0,10}超长|输入.{0,10}(超长|过长|超出)|上下文.{0,10}超",
        )
    )
)
_OF_THE_ANSWER = re.compile(
    r"max_(completion_|output_)?tokens`?'?:? .{0,60}(too large|at most|less than|must be|maximum allowed)"
    r"|completion tokens|maximum allowed number of output tokens|max_tokens output"
)
"""The limit is that of the answer's tokens, not of the context."""
_LIKELY_OVERFLOW = re.compile("|".join(_GENERAL))
_TOO_FAST = re.compile(
    r"per[ -](minute|min|second|hour|day)|\b[tr]p[mds]\b|rate.?limit|too many requests|throttl"
    r"|please wait before trying again"
)
_TOO_BIG_AT_ONCE = re.compile(r"limit:? (\d+),? requested:? (\d+)")
"""OpenAI and Groq: one request takes more than a minute may. It never fits, however long one waits."""
_NO_CREDIT = re.compile(
    r"insufficient (balance|credit|fund|quota)|(credit|account)s? balance (is )?(too low|insufficient)"
    r"|balance is insufficient|requires? more credits|(exceeded|used all).{0,30}\b(current quota|credits?\b)"
    r"|exceeded.{0,30}\bspend|quota.{0,40}(check your plan|billing)|billing (hard )?limit"
    r"|(check|update) your (plan and )?billing|payment (is )?required|(add|purchase) (more )?(credit|fund)"
    r"|account is not active|(monthly|spend\w*) (spending )?(limit|alert|cap)\b|credit limit exceeded"
    r"|account in good standing|out of credits?|arrear|budget (has been |is )?exceeded"
    r"|reached your (specified )?(api )?usage limits|quota exceeded for metric.{0,160}limit: 0\b"
    r"|余额不足|欠费|请充值|额度(不足|已用尽|已用完)"
)
_NO_MODEL = re.compile(
    r"\bmodel\b.{0,120}(not (be )?found|n't found|does not exist|doesn't exist"
    r"|not exist|unknown|decommissioned"
    r"|no longer available|deprecated and|is not (available|deployed|supported by any|loaded)|not pulled)"
    r"|(no such|unknown|invalid|unsupported|unrecogni[sz]ed|not found the|unable to access|(can't|not) find) "
    r"(the )?model|not a valid model|\bno models? (are )?loaded|no endpoints found"
    r"|no (allowed|available) (providers?|channels?)|deployment.{0,60}(does not exist|not found)"
    r"|^models?[:/] ?\S+( is not found.*)?$|模型不存在|not found, try pulling it first"
)
_NO_PATH = re.compile(
    r"invalid url|page not found|file not found|no route|cannot (post|put) /|^resource not found$"
    r"|unknown request url|unexpected endpoint|method not allowed|requested url"
    r"|unknown (path|endpoint|route|url)"
    r"|(path|endpoint|route|url)\b.{0,80}(not found|does not exist|not exist|not supported$)"
)
_ONLY_RESPONSES = re.compile(
    r"only (be )?(supported|available|used|accessible) (in|on|with|through|via|by) (the )?`?/?(v1/)?responses"
    r"|not supported (in|on|with|by|for .{0,60} in) (the )?`?/?(v1/)?chat/completions"
    r"|use (the )?`?/?(v1/)?responses\b|not (a chat model|accessible via (the )?/chat/completions)"
    r"|chat_?completions? operation does not work with|unsupported_api_for_model"
)
"""OpenAI: pgadmin-org/pgadmin4#9795, micz/ThunderAI#570. Copilot: caozhiyuan/copilot-api#102. Azure:
langchain-ai/langchain-azure#228."""
_KEY = re.compile(
    r"login fail: please carry the api|could not be validated"
    r"|(invalid|incorrect|missing|wrong|no|expired|revoked) (or missing )?(api|auth\w*)[ _-]?(key|token)"
)
_COUNTRY = re.compile(
    r"unsupported_country|(country|region|territory|location) (is )?not supported"
    r"|not available in your (country|region)"
)

_NO_PROVIDER = re.compile(r"no endpoints (found|available) (that support|match)")
"""OpenRouter knows the model, and none of its providers takes what is asked."""
_FLAGGED = re.compile(r"(input|prompt|content) was flagged|flagged (for|as)\b")
_NO_ACCESS = re.compile(
    r"must be verified to use|not authorized to (perform|access|use|invoke)"
    r"|not have (access|permission) to (use |access )?(the |this )?model"
)
_MEMORY = re.compile(
    r"insufficient (system )?(resources|memory)|out of memory|\boom\b|(more|not enough) (system |gpu )?memory"
    r"|(failed|unable) to allocate"
)
_UNLOADED = re.compile(
    r"model (is |was )?(unloaded|crashed)|model (has )?crashed|unloaded by user or crashed"
)
_NOT_LOADED = re.compile(r"\bmodel (is )?not loaded|\bno models? (are |is )?(currently )?loaded")
_REFUSED_LATE = re.compile(
    r"requires? (the )?--\w+|roles must alternate|only user and assistant roles"
    r"|(does not|doesn't|is not|are not|isn't|aren't|not) support"
)
"""What llama.cpp and others call an error of their own (500), though it is the request that can't be done."""
_BUSY = re.compile(r"(model|engine|service|server) (is |service )?(currently )?overloaded")
_TELLING: tuple[tuple[frozenset[int], re.Pattern[str], Verdict], ...] = (
    (frozenset({404}), _NO_PROVIDER, Verdict(ModelErrorKind.REFUSED, _ASK_LESS)),
    (frozenset({0, 400, 403}), _FLAGGED, Verdict(ModelErrorKind.REFUSED)),
    (frozenset({401, 403}), _NO_ACCESS, Verdict(ModelErrorKind.UNAUTHENTICATED, _ACCESS)),
    (frozenset({200, 400, 404, 424, 500, 503, 507}), _MEMORY, Verdict(ModelErrorKind.FAILED, _FREE)),
    (frozenset({0, 400, 404}), _UNLOADED, Verdict(ModelErrorKind.FAILED, "Ask again, or look at the server")),
    (frozenset({0, 400, 404}), _NOT_LOADED, Verdict(ModelErrorKind.NOT_PULLED, _LOAD)),
    (frozenset({500}), _REFUSED_LATE, Verdict(ModelErrorKind.REFUSED)),
    (frozenset({429}), _BUSY, Verdict(ModelErrorKind.OVERLOADED)),
    (frozenset({0, 200, 400}), _TOO_FAST, Verdict(ModelErrorKind.RATE_LIMITED)),
)
"""Sentences that say more than their status, and where: what OpenRouter, OpenAI, AWS, LM Studio, Ollama,
text-generation-inference, llama.cpp, Moonshot and MiniMax write."""
_SHORT_STATUS = 3
"""Digits of an HTTP status."""
_BLOCKED = "Neither the key nor the request is at fault: try another network, or ask who runs the gateway"


def judge(refusal: Refusal) -> Verdict:
    """Tell what kind of refusal it is. The words say more than the codes, and both more than the status."""
    words = refusal.words[:_JUDGED].lower()
    if refusal.gateway:
        return _by_gateway(refusal)
    return _by_words(refusal, words) or _by_codes(refusal, words) or _by_status(refusal, words)


def wants_responses(refusal: Refusal) -> bool:
    """Return whether it says that the model speaks only the calls of /v1/responses."""
    said = " ".join((refusal.words[:_JUDGED], *refusal.codes)).lower()
    return _ONLY_RESPONSES.search(said) is not None


def _by_gateway(refusal: Refusal) -> Verdict:
    kind = ModelErrorKind.UNREACHABLE
    if why := _CLOUDFLARE.get(refusal.status):
        return Verdict(kind, "Try again later, or use another model", f"{why} ({refusal.status})")
    if refusal.status == HTTPStatus.FORBIDDEN:
        return Verdict(kind, _BLOCKED, "it does not let the request through (403)")
    return Verdict(_BY_STATUS.get(refusal.status, kind))


def _by_words(refusal: Refusal, words: str) -> Verdict | None:
    if wants_responses(refusal):
        return Verdict(ModelErrorKind.REFUSED, _COMPLETIONS)
    if _is_overflow(refusal, words):
        return Verdict(ModelErrorKind.CONTEXT_OVERFLOW)
    if (sizes := _TOO_BIG_AT_ONCE.search(words)) and int(sizes[2]) > int(sizes[1]):
        return Verdict(ModelErrorKind.CONTEXT_OVERFLOW, "Send less, or use another plan or model")
    if "signin_url" in refusal.codes:
        return Verdict(ModelErrorKind.UNAUTHENTICATED, _SIGN_IN)
    if _NO_CREDIT.search(words) and not _passes(refusal):
        return Verdict(ModelErrorKind.NO_CREDIT)
    if _COUNTRY.search(f"{words} {' '.join(refusal.codes)}"):
        return Verdict(ModelErrorKind.UNAUTHENTICATED, _REGION)
    if refusal.status in _NAMES_NOTHING and _KEY.search(words):
        return Verdict(ModelErrorKind.UNAUTHENTICATED)
    return next(
        (verdict for at, said, verdict in _TELLING if refusal.status in at and said.search(words)), None
    )


_NAMES_NOTHING = {0, 400, 403, 422, 500}
"""Statuses that some servers send for a wrong key as well."""


def _is_overflow(refusal: Refusal, words: str) -> bool:
    if refusal.status in {401, 402, 403, 429} or _OF_THE_ANSWER.search(words):
        return "maximum context length" in words and refusal.status not in {401, 402, 403}
    if _TOO_FAST.search(words):
        return False
    likely = _LIKELY_OVERFLOW.search(words) and not _OTHER_THINGS.search(words)
    return _OVERFLOW.search(words) is not None or bool(likely)


def _passes(refusal: Refusal) -> bool:
    """Return whether it passes: it says when to come back, or what it is. A limit of nothing never does."""
    words = refusal.words.lower()
    if "limit: 0" in words:
        return False
    return refusal.retry_after_s is not None or re.match("rate limit (exceeded|reached)", words) is not None


def _by_codes(refusal: Refusal, words: str) -> Verdict | None:
    found = {_BY_CODE[code.lower()] for code in refusal.codes if code.lower() in _BY_CODE}
    kind = next((kind for kind in _BY_CODE.values() if kind in found), None)
    if kind is ModelErrorKind.NO_CREDIT and _passes(refusal):
        return Verdict(ModelErrorKind.RATE_LIMITED)
    if kind is not None:
        return Verdict(kind)
    if refusal.status in {0, HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR}:
        return _by_hidden_status(refusal) or _absent(words)
    return None


def _by_hidden_status(refusal: Refusal) -> Verdict | None:
    """Find a status inside the body: streams and gateways carry the real one there."""
    numbers = (
        int(code)
        for code in refusal.codes
        if code.isascii() and code.isdecimal() and len(code) == _SHORT_STATUS
    )
    status = next((number for number in numbers if number in _BY_STATUS or number // 100 in {4, 5}), None)
    if status is None or status == refusal.status:
        return None
    return _by_status(Refusal(status, refusal.words), refusal.words.lower())


def _absent(words: str) -> Verdict | None:
    if _NO_PATH.search(words):
        return Verdict(ModelErrorKind.WRONG_PATH)
    return Verdict(ModelErrorKind.NOT_PULLED) if _NO_MODEL.search(words) else None


def _by_status(refusal: Refusal, words: str) -> Verdict:
    if refusal.status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        # A server that says something of its own knows the path, and so misses the model.
        says_more = re.sub(r"[\W\d_]|error|page", "", words) not in {"", "notfound"}
        return _absent(words) or Verdict(
            ModelErrorKind.NOT_PULLED if says_more else ModelErrorKind.WRONG_PATH
        )
    if refusal.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Verdict(ModelErrorKind.REFUSED, _SEND_LESS)
    if kind := _BY_STATUS.get(refusal.status):
        return Verdict(kind)
    wrong = {"invalid_request_error", "BadRequestError"} & refusal.codes and not refusal.status
    server = refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR or not refusal.status
    return Verdict(ModelErrorKind.FAILED if server and not wrong else ModelErrorKind.REFUSED)


def _sentence(error: object) -> str:
    sentences = list(dict.fromkeys(" ".join(words.split()) for words in _words(error)))
    telling = [one for one in sentences if one.lower() not in _PHRASES] or sentences
    return "; ".join(telling[:_MOST_SENTENCES])


_PHRASES = {
    *(status.phrase.lower() for status in HTTPStatus if status != HTTPStatus.NOT_FOUND),
    "error",
    "provider returned error",
    "upstream error",
}
"""Say nothing that the status does not say."""


def _words(error: object, depth: int = _DEEPEST) -> Iterator[str]:
    """Give the sentences of an error, whatever it is built of."""
    match error:
        case str() if error.strip():
            yield from _unpack(error.strip(), depth)
        case list() if depth:
            for one in error:
                yield from _words(one, depth - 1)
        case dict() if depth:
            yield from _of_object(error, depth - 1)


def _of_object(error: Mapping[str, object], depth: int) -> Iterator[str]:
    error = _in_lower_case(error)
    found = [words for key in _WORDS if error.get(key) for words in _words(error[key], depth)]
    if not found:
        inner = (value for value in error.values() if isinstance(value, dict | list))
        found = [words for value in inner for words in _words(value, depth)]
    where = _place(error.get("loc") or error.get("instancePath"))
    yield from (f"{where}: {words}" if where else words for words in found)
    # OpenRouter: the words of the provider behind it.
    if isinstance(metadata := error.get("metadata"), dict) and metadata.get("raw"):
        yield from _words(metadata["raw"], depth)


def _in_lower_case(error: Mapping[str, object]) -> Mapping[str, object]:
    """Write the first letter of each key small: AWS and Tencent write it large."""
    return {**{key[:1].lower() + key[1:]: value for key, value in error.items()}, **error}


def _unpack(text: str, depth: int) -> Iterator[str]:
    """Gateways pass on the error of the server behind them as a text that holds JSON."""
    inner: object = None
    if text[0] in "[{" and depth:
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            inner = None
    found = list(_words(inner, depth - 1)) if inner is not None else []
    yield from found or [text]


def _place(loc: object) -> str:
    """Pydantic and others say where a value stands: ["body", "stream_options"]."""
    if isinstance(loc, list):
        return ".".join(str(one) for one in loc)
    return loc if isinstance(loc, str) else ""


def _codes(error: object, depth: int = _DEEPEST) -> Iterator[str]:
    if isinstance(error, list) and depth:
        for one in error:
            yield from _codes(one, depth - 1)
    if isinstance(error, str) and error[:1] in ("{", "[") and depth:
        try:
            yield from _codes(json.loads(error), depth - 1)
        except (ValueError, RecursionError):
            return
    if isinstance(error, dict) and depth:
        values = _in_lower_case(error)
        if values.get("signin_url"):
            yield "signin_url"
        yield from (str(code) for key in _CODES if isinstance(code := values.get(key), str | int) and code)
        for key in ("error", "errors", "message", "detail", "details", "fault", "metadata", "raw", "cause"):
            value = values.get(key)
            if not isinstance(value, str) or value[:1] in ("{", "["):
                yield from _codes(value, depth - 1)


def _is_markup(text: str) -> bool:
    return re.match(r"<[!?a-z]", text, re.IGNORECASE) is not None


def _gateway(status: int, headers: Mapping[str, str], text: str) -> str:
    named = _gateway_of(headers)
    if named or status in _CLOUDFLARE:
        return named or "Cloudflare, in front of the server,"
    is_page = _is_markup(text)
    blocked = status == HTTPStatus.FORBIDDEN and (is_page or re.match(r"error code: 1\d{3}\b", text))
    if not blocked:
        return ""
    for mark, name in _GATEWAYS.items():
        if mark in headers.get("Server", "").lower() or mark in text.lower():
            return f"{name}, in front of the server,"
    return "A gateway or firewall in front of the server"


_GATEWAYS = {
    "cloudflare": "Cloudflare",
    "cloudfront": "Amazon CloudFront",
    "awselb": "Amazon's load balancer",
    "akamai": "Akamai",
    "incapsula": "Imperva",
    "zscaler": "Zscaler",
    "fortiguard": "FortiGuard",
    "squid": "A Squid proxy",
}


def _gateway_of(headers: Mapping[str, str]) -> str:
    """Return who says itself that it answers in place of the server."""
    if headers.get("cf-mitigated"):
        return "Cloudflare, in front of the server,"
    return "A Squid proxy in front of the server" if headers.get("X-Squid-Error") else ""
