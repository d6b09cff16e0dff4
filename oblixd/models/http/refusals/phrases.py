"""What real servers write where they refuse a request: codes, statuses and sentences, with their sources."""

from __future__ import annotations

from oblixd.models.base import ModelErrorKind
from oblixd.patterns import pattern

BY_CODE = {
    "contextlengthexceeded": ModelErrorKind.CONTEXT_OVERFLOW,
    "contextoverflow": ModelErrorKind.CONTEXT_OVERFLOW,
    "contextwindowexceeded": ModelErrorKind.CONTEXT_OVERFLOW,
    "exceedcontextsizeerror": ModelErrorKind.CONTEXT_OVERFLOW,
    "modelmaxprompttokensexceeded": ModelErrorKind.CONTEXT_OVERFLOW,
    "outofcontexterror": ModelErrorKind.CONTEXT_OVERFLOW,
    "tokenslimitreached": ModelErrorKind.CONTEXT_OVERFLOW,
    "authenticationerror": ModelErrorKind.UNAUTHENTICATED,
    "permissionerror": ModelErrorKind.UNAUTHENTICATED,
    "invalidapikey": ModelErrorKind.UNAUTHENTICATED,
    "unauthenticated": ModelErrorKind.UNAUTHENTICATED,
    "permissiondenied": ModelErrorKind.UNAUTHENTICATED,
    "apikeyinvalid": ModelErrorKind.UNAUTHENTICATED,
    "authfailure": ModelErrorKind.UNAUTHENTICATED,
    "accessdenied": ModelErrorKind.UNAUTHENTICATED,
    "accessdeniedexception": ModelErrorKind.UNAUTHENTICATED,
    "unrecognizedclientexception": ModelErrorKind.UNAUTHENTICATED,
    "expiredtokenexception": ModelErrorKind.UNAUTHENTICATED,
    "organizationrestricted": ModelErrorKind.UNAUTHENTICATED,
    "modelnotfound": ModelErrorKind.NOT_PULLED,
    "modelnotavailable": ModelErrorKind.NOT_PULLED,
    "invalidmodel": ModelErrorKind.NOT_PULLED,
    "deploymentnotfound": ModelErrorKind.NOT_PULLED,
    "modeldecommissioned": ModelErrorKind.NOT_PULLED,
    "modelnotfoundexception": ModelErrorKind.NOT_PULLED,
    "insufficientquota": ModelErrorKind.NO_CREDIT,
    "exceededcurrentquotaerror": ModelErrorKind.NO_CREDIT,
    "billingerror": ModelErrorKind.NO_CREDIT,
    "billinghardlimitreached": ModelErrorKind.NO_CREDIT,
    "billingnotactive": ModelErrorKind.NO_CREDIT,
    "paymentrequired": ModelErrorKind.NO_CREDIT,
    "creditlimit": ModelErrorKind.NO_CREDIT,
    "arrearage": ModelErrorKind.NO_CREDIT,
    "budgetexceeded": ModelErrorKind.NO_CREDIT,
    "insufficientuserquota": ModelErrorKind.NO_CREDIT,
    "1113": ModelErrorKind.NO_CREDIT,
    "resourcepackexhausted": ModelErrorKind.NO_CREDIT,
    "freetieronly": ModelErrorKind.NO_CREDIT,
    "accountoverdueerror": ModelErrorKind.NO_CREDIT,
    "ratelimiterror": ModelErrorKind.RATE_LIMITED,
    "ratelimitexceeded": ModelErrorKind.RATE_LIMITED,
    "resourceexhausted": ModelErrorKind.RATE_LIMITED,
    "throttlingexception": ModelErrorKind.RATE_LIMITED,
    "toomanyrequestsexception": ModelErrorKind.RATE_LIMITED,
    "throttling": ModelErrorKind.RATE_LIMITED,
    "requestlimitexceeded": ModelErrorKind.RATE_LIMITED,
    "limitexceeded": ModelErrorKind.RATE_LIMITED,
    "engineserverlimitexceeded": ModelErrorKind.RATE_LIMITED,
    "servicequotaexceededexception": ModelErrorKind.RATE_LIMITED,
    "ratelimitreached": ModelErrorKind.RATE_LIMITED,
    "ratelimitreachederror": ModelErrorKind.RATE_LIMITED,
    "engineoverloadederror": ModelErrorKind.OVERLOADED,
    "overloaded": ModelErrorKind.OVERLOADED,
    "overloadederror": ModelErrorKind.OVERLOADED,
    "unavailable": ModelErrorKind.OVERLOADED,
    "capacityexceeded": ModelErrorKind.OVERLOADED,
    "queueexceeded": ModelErrorKind.OVERLOADED,
    "modelloadingerror": ModelErrorKind.OVERLOADED,
    "modelnotreadyexception": ModelErrorKind.OVERLOADED,
    "serviceunavailableexception": ModelErrorKind.OVERLOADED,
    "overloadedexception": ModelErrorKind.OVERLOADED,
    "invalidargument": ModelErrorKind.REFUSED,
}
"""What programs are told, in lower case and without separators. A number is one of a provider's own list:
1113 is Zhipu's empty account."""
BY_STATUS = {
    401: ModelErrorKind.UNAUTHENTICATED,
    402: ModelErrorKind.NO_CREDIT,
    403: ModelErrorKind.UNAUTHENTICATED,
    404: ModelErrorKind.WRONG_PATH,
    405: ModelErrorKind.WRONG_PATH,
    407: ModelErrorKind.UNREACHABLE,
    408: ModelErrorKind.UNREACHABLE,
    421: ModelErrorKind.UNREACHABLE,
    424: ModelErrorKind.FAILED,
    425: ModelErrorKind.OVERLOADED,
    429: ModelErrorKind.RATE_LIMITED,
    499: ModelErrorKind.FAILED,
    501: ModelErrorKind.REFUSED,
    502: ModelErrorKind.UNREACHABLE,
    503: ModelErrorKind.OVERLOADED,
    504: ModelErrorKind.UNREACHABLE,
    509: ModelErrorKind.RATE_LIMITED,
    511: ModelErrorKind.UNREACHABLE,
    529: ModelErrorKind.OVERLOADED,
    598: ModelErrorKind.UNREACHABLE,
    599: ModelErrorKind.UNREACHABLE,
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
_OTHER_LANGUAGES = (
    r"(prompt|输入|上下文|token|提示词|字数|内容).{0,20}(超长|过长|超出|超过|太长|太多)",
    r"(コンテキスト|トークン|入力|プロンプト).{0,30}(超え|超過|長すぎ)",
    r"(컨텍스트|토큰|입력|프롬프트).{0,40}(초과|너무 [길깁])",
    r"kontext(länge|fenster|größe)?.{0,60}(überschr|zu lang)|(überschr|zu lang).{0,40}kontext",
    (
        r"(contexto|context[oe]|tokens?|jetons|entrada|requête|entrée|contesto|prompt).{0,60}"
        r"(supera|excede|eccede|ultrapassa|dépass|demasiado larg|trop long|tropp[oa] lung|muito long)"
    ),
    r"(supera|excede|eccede|ultrapassa|dépasse).{0,60}(contexto|contexte|contesto|tokens?|jetons)",
    r"(контекст|токен|запрос|длин).{0,60}(превыш|слишком длин)|превыш.{0,60}(контекст|токен)",
)
"""The same in the languages of gateways and of the people who run them."""
OTHER_THINGS = pattern(
    r"\b(images?|files?|audio|video|descriptions?|names?|strings?|headers?|metadata|tools|stop sequences"
    r"|schema|too small)\b"
)
"""What else can be too long or too many. A sentence about one of these is none about the context."""
OVERFLOW = pattern(
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
            r"max input (characters|tokens)|max length of current question",  # Baidu's Qianfan
            r"(prompt|input|message|context) length exceeds",  # Baidu's Qianfan
            r"expected maxlength: \d+, actual",  # Bedrock, in characters
            r"exceed max message tokens",  # Volcengine Ark
            r"max size:? \d+ tokens",  # GitHub Models
            r"context shift is disabled",  # llama.cpp, where the context is full
            *_OTHER_LANGUAGES,
        )
    )
)
OF_THE_ANSWER = pattern(
    r"max_(completion_|output_)?tokens`?'?:? .{0,60}(too large|at most|less than|must be|maximum allowed)"
    r"|completion tokens|maximum allowed number of output tokens|max_tokens output"
)
"""The limit is that of the answer's tokens, not of the context."""
LIKELY_OVERFLOW = pattern("|".join(_GENERAL))
TOO_FAST = pattern(
    r"per[ -](minute|min|second|hour|day)|\b[tr]p[mds]\b|rate.?limit|too many requests|throttl"
    r"|please wait before trying again|rate exceeded|frequency limit|\bqps\b|qpsoverflow"
    r"|\b(request|daily|hourly|usage|calls?) limit (is |was |has been )?(reached|exceeded)|call volume quota"
    r"|concurren\w+ .{0,30}(exceed|reached|too (many|high))|too many concurrent|status code 429"
    r"|速率限制|频率|频繁|限流|并发|每(秒|分钟|小时|天)|请求(数)?(过多|过快|超)"
    r"|レート制限|リクエストが多|요청이 너무 많"
)
TOO_BIG_AT_ONCE = pattern(r"limit:? (\d+),? requested:? (\d+)")
"""OpenAI and Groq: one request takes more than a minute may. It never fits, however long one waits."""
NO_CREDIT = pattern(
    r"insufficient (balance|credit|fund|quota)|(credit|account)s? balance (is )?(too low|insufficient)"
    r"|balance is insufficient|requires? more credits|(exceeded|used all).{0,30}\b(current quota|credits?\b)"
    r"|exceeded.{0,30}\bspend|quota.{0,40}(check your plan|billing)|billing (hard )?limit"
    r"|(check|update) your (plan and )?billing|payment (is )?required|(add|purchase) (more )?(credit|fund)"
    r"|account is not active|(monthly|spend\w*) (spending )?(limit|alert|cap)\b|credit limit exceeded"
    r"|account in good standing|out of credits?|arrear|budget (has been |is )?exceeded"
    r"|reached your (specified )?(api )?usage limits|quota exceeded for metric.{0,160}limit: 0\b"
    r"|\btop up\b|\brecharge|overdue balance|free tier .{0,40}exhausted|exhausted .{0,20}(trial|free)"
    r"|requires a (pro |paid )?subscription|upgrade for access|credits? (are |is )?(expired|depleted)"
    r"|n't have any credits|key limit exceeded|set inference limit|free allocation|weekly usage limit"
    r"|资源包.{0,8}(用尽|耗尽|不足)|令牌额度|剩余额度|余额不足|欠费|请充值|额度(不足|已用尽|已用完)"
)
NO_MODEL = pattern(
    r"\bmodel\b.{0,120}(not (be )?found|n't found|does not exist|doesn't exist"
    r"|not exist|unknown|decommissioned"
    r"|no longer available|deprecated and|is not (available|deployed|supported by any|loaded)|not pulled)"
    r"|(no such|unknown|invalid|unsupported|unrecogni[sz]ed|not found the|unable to access|(can't|not) find) "
    r"(the )?model|not a valid model|\bno models? (are )?loaded|no endpoints found"
    r"|no (allowed|available) (providers?|channels?)|deployment.{0,60}(does not exist|not found)"
    r"|^models?[:/] ?\S+( is not found.*)?$|模型不存在|无可用渠道|not found, try pulling it first"
)
NO_PATH = pattern(
    r"invalid url|default backend|^404 not_found$"
    r"|page not found|file not found|no route|cannot (post|put) /|^resource not found$"
    r"|unknown request url|unexpected endpoint|method not allowed|requested url"
    r"|unknown (path|endpoint|route|url)"
    r"|(?<!model or )\b(path|endpoint|route|url)\b.{0,80}(not found|does not exist|not exist|not supported$)"
)
ONLY_RESPONSES = pattern(
    r"only (be )?(supported|available|used|accessible) (in|on|with|through|via|by) (the )?`?/?(v1/)?responses"
    r"|not supported (in|on|with|by|for .{0,60} in) (the )?`?/?(v1/)?chat/completions"
    r"|use (the )?`?/?(v1/)?responses\b|not (a chat model|accessible via (the )?/chat/completions)"
    r"|chat_?completions? operation does not work with|unsupported_api_for_model"
)
"""OpenAI: pgadmin-org/pgadmin4#9795, micz/ThunderAI#570. Copilot: caozhiyuan/copilot-api#102. Azure:
langchain-ai/langchain-azure#228."""
KEY = pattern(
    r"login fail: please carry the api|could not be validated|no auth\b|no permission|secretid is not found"
    r"|(access|auth\w*|bearer|api)[ _-]?(token|key) (is |has )?(invalid|expired|no longer valid)"
    r"|not authorized|organization has been restricted"
    r"|signature does not match|令牌.{0,6}(无效|过期|非法)|无效的令牌|鉴权失败|身份验证失败"
    r"|(invalid|incorrect|missing|wrong|no|expired|revoked) (or missing )?(api|auth\w*)[ _-]?(key|token)"
)
COUNTRY = pattern(
    r"unsupported_country|(country|region|territory|location) (is )?not supported"
    r"|not available in your (country|region)"
)

NO_PROVIDER = pattern(r"no endpoints (found|available) (that support|match)")
"""OpenRouter knows the model, and none of its providers takes what is asked."""
FLAGGED = pattern(
    r"(input|prompt|content) was flagged|flagged (for|as)\b|可能包含.{0,12}(不安全|敏感)|new_sensitive"
)
NO_ACCESS = pattern(
    r"must be verified to use|not authorized to (perform|access|use|invoke)"
    r"|not have (access|permission) to (use |access )?(the |this )?model"
)
MEMORY = pattern(
    r"insufficient (system )?(resources|memory)|out of memory|\boom\b|(more|not enough) (system |gpu )?memory"
    r"|(failed|unable) to allocate"
)
UNLOADED = pattern(r"model (is |was )?(unloaded|crashed)|model (has )?crashed|unloaded by user or crashed")
NOT_LOADED = pattern(r"\bmodel (is )?not loaded|\bno models? (are |is )?(currently )?loaded")
REFUSED_LATE = pattern(
    r"requires? (the )?--\w+|roles must alternate|only user and assistant roles"
    r"|(does not|doesn't|is not|are not|isn't|aren't|not) support"
)
"""What llama.cpp and others call an error of their own (500), though it is the request that can't be done."""
BUSY = pattern(
    r"(model|engine|service|server) (is |service )?(currently )?overloaded|\bat capacity\b|too busy"
    r"|capacity (temporarily )?exceeded|queue is full|currently (being loaded|loading)|负载已饱和"
)
OFFLINE = pattern(r"err_ngrok_\d+|tunnel \S+ not found|endpoint \S+ is offline|application failed to respond")
"""A tunnel or a hosting platform whose other end is away."""
WANTS_TLS = pattern(r"http request (was sent )?to (an )?https (port|server)")
TOO_LARGE = pattern(r"(payload|request body|entity) (size )?(is )?(too large|exceeds)")
