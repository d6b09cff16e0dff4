"""What real servers write where they refuse a request: codes, statuses and sentences, each with its source."""

from __future__ import annotations

import re

from oblixd.models.base import ModelErrorKind

BY_CODE = {
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
BY_STATUS = {
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
CLOUDFLARE = {
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
OTHER_THINGS = re.compile(
    r"\b(images?|files?|audio|video|descriptions?|names?|strings?|headers?|metadata|tools|stop sequences"
    r"|schema|too small)\b"
)
"""What else can be too long or too many. A sentence about one of these is none about the context."""
OVERFLOW = re.compile(
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
OF_THE_ANSWER = re.compile(
    r"max_(completion_|output_)?tokens`?'?:? .{0,60}(too large|at most|less than|must be|maximum allowed)"
    r"|completion tokens|maximum allowed number of output tokens|max_tokens output"
)
"""The limit is that of the answer's tokens, not of the context."""
LIKELY_OVERFLOW = re.compile("|".join(_GENERAL))
TOO_FAST = re.compile(
    r"per[ -](minute|min|second|hour|day)|\b[tr]p[mds]\b|rate.?limit|too many requests|throttl"
    r"|please wait before trying again"
)
TOO_BIG_AT_ONCE = re.compile(r"limit:? (\d+),? requested:? (\d+)")
"""OpenAI and Groq: one request takes more than a minute may. It never fits, however long one waits."""
NO_CREDIT = re.compile(
    r"insufficient (balance|credit|fund|quota)|(credit|account)s? balance (is )?(too low|insufficient)"
    r"|balance is insufficient|requires? more credits|(exceeded|used all).{0,30}\b(current quota|credits?\b)"
    r"|exceeded.{0,30}\bspend|quota.{0,40}(check your plan|billing)|billing (hard )?limit"
    r"|(check|update) your (plan and )?billing|payment (is )?required|(add|purchase) (more )?(credit|fund)"
    r"|account is not active|(monthly|spend\w*) (spending )?(limit|alert|cap)\b|credit limit exceeded"
    r"|account in good standing|out of credits?|arrear|budget (has been |is )?exceeded"
    r"|reached your (specified )?(api )?usage limits|quota exceeded for metric.{0,160}limit: 0\b"
    r"|余额不足|欠费|请充值|额度(不足|已用尽|已用完)"
)
NO_MODEL = re.compile(
    r"\bmodel\b.{0,120}(not (be )?found|n't found|does not exist|doesn't exist"
    r"|not exist|unknown|decommissioned"
    r"|no longer available|deprecated and|is not (available|deployed|supported by any|loaded)|not pulled)"
    r"|(no such|unknown|invalid|unsupported|unrecogni[sz]ed|not found the|unable to access|(can't|not) find) "
    r"(the )?model|not a valid model|\bno models? (are )?loaded|no endpoints found"
    r"|no (allowed|available) (providers?|channels?)|deployment.{0,60}(does not exist|not found)"
    r"|^models?[:/] ?\S+( is not found.*)?$|模型不存在|not found, try pulling it first"
)
NO_PATH = re.compile(
    r"invalid url|page not found|file not found|no route|cannot (post|put) /|^resource not found$"
    r"|unknown request url|unexpected endpoint|method not allowed|requested url"
    r"|unknown (path|endpoint|route|url)"
    r"|(path|endpoint|route|url)\b.{0,80}(not found|does not exist|not exist|not supported$)"
)
ONLY_RESPONSES = re.compile(
    r"only (be )?(supported|available|used|accessible) (in|on|with|through|via|by) (the )?`?/?(v1/)?responses"
    r"|not supported (in|on|with|by|for .{0,60} in) (the )?`?/?(v1/)?chat/completions"
    r"|use (the )?`?/?(v1/)?responses\b|not (a chat model|accessible via (the )?/chat/completions)"
    r"|chat_?completions? operation does not work with|unsupported_api_for_model"
)
"""OpenAI: pgadmin-org/pgadmin4#9795, micz/ThunderAI#570. Copilot: caozhiyuan/copilot-api#102. Azure:
langchain-ai/langchain-azure#228."""
KEY = re.compile(
    r"login fail: please carry the api|could not be validated"
    r"|(invalid|incorrect|missing|wrong|no|expired|revoked) (or missing )?(api|auth\w*)[ _-]?(key|token)"
)
COUNTRY = re.compile(
    r"unsupported_country|(country|region|territory|location) (is )?not supported"
    r"|not available in your (country|region)"
)

NO_PROVIDER = re.compile(r"no endpoints (found|available) (that support|match)")
"""OpenRouter knows the model, and none of its providers takes what is asked."""
FLAGGED = re.compile(r"(input|prompt|content) was flagged|flagged (for|as)\b")
NO_ACCESS = re.compile(
    r"must be verified to use|not authorized to (perform|access|use|invoke)"
    r"|not have (access|permission) to (use |access )?(the |this )?model"
)
MEMORY = re.compile(
    r"insufficient (system )?(resources|memory)|out of memory|\boom\b|(more|not enough) (system |gpu )?memory"
    r"|(failed|unable) to allocate"
)
UNLOADED = re.compile(r"model (is |was )?(unloaded|crashed)|model (has )?crashed|unloaded by user or crashed")
NOT_LOADED = re.compile(r"\bmodel (is )?not loaded|\bno models? (are |is )?(currently )?loaded")
REFUSED_LATE = re.compile(
    r"requires? (the )?--\w+|roles must alternate|only user and assistant roles"
    r"|(does not|doesn't|is not|are not|isn't|aren't|not) support"
)
"""What llama.cpp and others call an error of their own (500), though it is the request that can't be done."""
BUSY = re.compile(r"(model|engine|service|server) (is |service )?(currently )?overloaded")
