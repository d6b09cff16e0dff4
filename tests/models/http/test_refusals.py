"""What real servers say where they refuse a request: each sentence with the report that it is from."""

from __future__ import annotations

import json

import pytest

from oblixd.models.base import ModelErrorKind
from oblixd.models.http.refusals import Refusal, judge, wants_responses
from oblixd.models.http.server import ServerErrors

E = ModelErrorKind
PEER = ServerErrors(title="The endpoint", endpoint="http://127.0.0.1:1")


def openai(message: str, kind: str = "invalid_request_error", code: object = None) -> bytes:
    """The shape that most servers took over from OpenAI."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


def vllm(message: str, code: int = 400) -> bytes:
    """The shape of vLLM and SGLang before they took over OpenAI's."""
    return json.dumps(
        {"object": "error", "message": message, "type": "BadRequestError", "code": code}
    ).encode()


OVERFLOWS = [
    "prompt is too long: 210194 tokens > 200000 maximum",  # Anthropic: microsoft/vscode#293191
    # Anthropic: docker/docker-agent#569
    (
        "input length and `max_tokens` exceed context limit: 178959 + 64000 > "
        "200000, decrease input length or "
        "`max_tokens` and try again"
    ),
    # OpenAI: xtekky/gpt4free#137
    (
        "This model's maximum context length is 4097 tokens. However, your messages resulted in 4301 tokens. "
        "Please reduce the length of the messages."
    ),
    # vLLM: vllm-project/vllm#20409
    (
        "This model's maximum context length is 16384 tokens. However, you "
        "requested 122946 tokens (112946 in "
        "the messages, 10000 in the completion). Please reduce the length of the messages or completion."
    ),
    "Your input exceeds the context window of this model. Please adjust your input and try again.",  # OpenAI
    "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
    "The input (61709 tokens) is longer than the model's context length (40960 tokens).",  # QwenLM/Qwen3#1321
    # LM Studio: lmstudio-ai/lmstudio-bug-tracker#546
    (
        "Trying to keep the first 111490 tokens when context the overflows. "
        "However, the model is loaded with "
        "context length of only 32768 tokens, which is not enough."
    ),
    "Context size has been exceeded.",  # LM Studio: lmstudio-ai/lmstudio-bug-tracker#2339
    "Input length 1581 exceeds context length 1500",  # LM Studio: lmstudio-ai/model-catalog#38
    # LM Studio: zhy0216/pigo, overflow.ts
    "The number of tokens to keep from the initial prompt is greater than the context length.",
    "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",  # Gemini
    "prompt token count of 93854 exceeds the limit of 90000",  # GitHub Copilot: jjleng/copilot-more#35
    "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 204800]",  # qwen-code#98
    # TGI: huggingface/chat-ui#340, huggingface/text-generation-inference#937
    (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= "
        "1512. Given: 1000 `inputs` tokens "
        "and 1024 `max_new_tokens`"
    ),
    "Input validation error: `inputs` must have less than 1024 tokens. Given: 1872",
    "the request exceeds the available context size, try increasing it",  # llama.cpp
    "Prompt exceeds maximum context length",  # mlx-serve: ddalcu/mlx-serve#66
    "Input prompt (35247 tokens) is too long and exceeds limit of 1000",  # vLLM: vllm-project/vllm#10440
    "The decoder prompt (length 36893) is longer than the maximum model length of 1000.",  # vLLM
    "Requested tokens (777) exceed context window of 512",  # llama-cpp-python: abetlen/llama-cpp-python#120
    "Please reduce the length of the messages or completion.",  # Groq, Cerebras
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",  # xAI
    "Input is too long for requested model.",  # Bedrock
    "invalid params, context window exceeds limit (2013)",  # MiniMax
    "Your request exceeded model token limit: 262144 (requested: 300000)",  # Kimi
    "tokens in request more than max tokens allowed",  # MoonshotAI/kimi-code#207
    # Mistral
    "Prompt contains 65673 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "prompt too long; exceeded max context length by 812 tokens",  # Ollama's runners
    "the input length exceeds the context length",  # Ollama
    "Request size exceeds model context window",  # Anthropic through gateways: None9527/NGOClaw
    "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292",  # Cohere
    "Prompt length (5000) exceeds maximum input length (4096)",  # TensorRT-LLM
    "Number of prompt tokens: 9000 exceeds model max length: 8192",  # OpenVINO Model Server
    "Prompt 超长",  # Zhipu, code 1261
    # vLLM: anomalyco/opencode#17746
    (
        "You passed 99073 input tokens and requested 32000 output tokens. However, the model's context "
        "length is only 131072 tokens, resulting in a maximum input length of 99072 tokens. Reduce the "
        "length of the input prompt. (parameter=input_tokens, value=99073)"
    ),
    # Bedrock, Ollama, Cohere and others: openclaw/openclaw#58839
    "ValidationException: The input is too long",
    "ValidationException: Input exceeds the max input token limit",
    "ollama: context length exceeded for llama3",
    "total tokens exceeds the model's max of 4096",
    "input is too long for model gpt-5.4",
    "maximum number of input tokens",
    "request too large",  # Moonshot: anomalyco/opencode#35918
    "token limit exceeded",  # Z.ai: anomalyco/opencode#25180
    "Prompt too large for this model",  # zimmra/openclaw
    "Model context window is 128k tokens, you requested 256k tokens",
    # What no list has
    "Input length 9000 exceeds maximum allowed token size 8192",
    "The conversation is too long, please start a new one",
    "prompt tokens (9000) exceed n_ctx (8192)",
    "Number of input tokens (9000) has exceeded the maximum (8192) allowed by the model",
    "invalid_request: input_tokens 9000 > max 8192",
    "Too many input tokens",
]
NO_OVERFLOWS = [
    # The limit is that of the answer.
    (400, "max_tokens is too large: 200000. This model supports at most 16384 completion tokens"),
    (
        400,
        "max_tokens: 64000 > 32000, which is the maximum allowed number of output tokens for claude-opus-4",
    ),
    (400, "tools[0].function.description: string is longer than the maximum of 1024 characters"),
    (400, "messages.1.content.0.image: image exceeds 5 MB maximum: 7340032 bytes > 5242880 bytes"),
    (429, "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000."),
    (429, "Number of request tokens has exceeded your per-minute rate limit"),
    (400, "This request would exceed the limit of 40,000 input tokens per minute"),
    (400, "top_p must be less than 1 and greater than 0"),
    (400, "Model context window too small (minimum is 128k tokens)"),
    (400, "max_tokens output exceeded"),
    (400, "messages.0.content: too many images: 120 > 100 maximum"),
    (400, "tools: too many tools: 200 exceeds the limit of 128"),
    (400, "metadata.user_id: string is longer than the max of 256 characters"),
    (400, "tools.0.input_schema: schema is too large: it exceeds the maximum of 5,000 tokens"),
    (429, "This request would exceed your organization's rate limit of 30,000 input tokens per minute"),
    (402, "Your input is too long for your balance"),
]


@pytest.mark.parametrize("words", OVERFLOWS)
def test_an_overflow_is_known_by_its_sentence(words: str) -> None:
    for body in (openai(words), vllm(words), json.dumps({"error": words}).encode(), words.encode()):
        assert judge(Refusal.read(400, {}, body)).kind is E.CONTEXT_OVERFLOW
    assert judge(Refusal.from_event({"error": {"message": words}})).kind is E.CONTEXT_OVERFLOW


@pytest.mark.parametrize(("status", "words"), NO_OVERFLOWS)
def test_other_limits_are_no_overflow(status: int, words: str) -> None:
    assert judge(Refusal.read(status, {}, openai(words))).kind is not E.CONTEXT_OVERFLOW


SHAPES = [
    # The words, and the body that holds them.
    ("Bad input", {"success": False, "errors": [{"code": 5006, "message": "Bad input"}], "result": {}}),
    ('Unknown name "x"', [{"error": {"code": 400, "message": 'Unknown name "x": Cannot find field.'}}]),
    (
        "body.stream_options: Extra inputs are not permitted",
        {
            "message": {
                "detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]
            }
        },
    ),
    ("body.n: Input should be 1", {"detail": [{"loc": ["body", "n"], "msg": "Input should be 1"}]}),
    ("no such thing", {"detail": "no such thing"}),
    ("the temperature is odd", {"type": "about:blank", "title": "the temperature is odd", "status": 400}),
    ("of the detail", {"type": "x", "title": "Bad Request", "detail": "of the detail", "status": 400}),
    ("first; second", {"statusCode": 400, "message": ["first", "second"], "error": "Bad Request"}),
    (
        "it is odd",
        {"timestamp": 1, "status": 400, "error": "Bad Request", "message": "it is odd", "path": "/v1"},
    ),
    (
        "from behind",
        {"error": {"message": "Provider returned error", "metadata": {"raw": '{"error":"from behind"}'}}},
    ),
    ("from within", {"error": {"message": '{"error":{"message":"from within"}}', "type": "x"}}),
    ("plainly", "plainly"),
    ("of the msg", {"code": 1214, "msg": "of the msg", "success": False}),
    ("by fault", {"fault": {"faultstring": "by fault", "detail": {"errorcode": "steps.x"}}}),
    ("described", {"error": "invalid", "error_description": "described"}),
    ("deeper", {"errors": {"body": ["deeper"]}}),
    ("in camels", {"errorMessage": "in camels"}),
    ("of the cause", {"error": {"cause": {"message": "of the cause"}}}),
]


@pytest.mark.parametrize(("words", "body"), SHAPES)
def test_words_are_found_in_any_shape(words: str, body: object) -> None:
    error = PEER.error_response(400, {}, json.dumps(body).encode())
    assert words in error.message
    assert error.kind is E.REFUSED


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (
            "Access Denied",
            b'<?xml version="1.0"?><Error><Code>X</Code><Message>Access Denied</Message></Error>',
        ),
        ("the n is odd", b"<error><detail>the n is odd</detail></error>"),
        ("it & that", b"<s:Fault><faultstring>it &amp; that</faultstring></s:Fault>"),
        (
            "413 Request Entity Too Large",
            b"<html><head><title>413 Request Entity Too Large</title></head></html>",
        ),
        ("plain words", b"plain words\n"),
    ],
)
def test_words_outside_json(words: str, body: bytes) -> None:
    assert words in PEER.error_response(400, {}, body).message


UNPAID = [
    (
        402,
        openai("Insufficient Balance", "unknown_error", "invalid_request_error"),
    ),  # DeepSeek: continue#9942
    (
        429,
        openai(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
    ),  # OpenAI
    (402, b""),
    (
        402,
        json.dumps(
            {"error": {"code": 402, "message": "This request requires more credits, or fewer max_tokens."}}
        ).encode(),
    ),  # OpenRouter
    (
        400,
        json.dumps(
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "Your credit balance is too low to access the Anthropic API.",
                },
            }
        ).encode(),
    ),
    (
        400,
        openai("Access denied, please make sure your account is in good standing.", "Arrearage", "Arrearage"),
    ),
    (429, openai("余额不足或无可用资源包,请充值。", "x", "1113")),  # Zhipu
    (
        429,
        openai(
            "Your account u is suspended, please check your plan and billing details",
            "exceeded_current_quota_error",
        ),
    ),  # Moonshot
    (
        403,
        json.dumps(
            {
                "code": "permission-denied",
                "error": "Your team has either used all available credits or "
                "reached its monthly spending limit.",
            }
        ).encode(),
    ),  # xAI
    (403, json.dumps({"code": 30001, "message": "Sorry, your account balance is insufficient"}).encode()),
    (
        402,
        json.dumps(
            {"error": "You have exceeded your monthly included credits for Inference Providers."}
        ).encode(),
    ),
    (400, openai("Billing hard limit has been reached", "insufficient_quota", "billing_hard_limit_reached")),
    (
        401,
        openai(
            "You exceeded your current quota, please check your plan and billing details",
            "insufficient_quota",
        ),
    ),
    (
        429,
        openai(
            "Your account is not active, please check your billing details on our website.",
            "billing_not_active",
        ),
    ),
]


UNPAID += [
    (
        400,
        openai("ExceededBudget: Budget has been exceeded! Current cost: 0.1", "budget_exceeded"),
    ),  # LiteLLM
    (400, openai("You have reached your specified API usage limits. You will regain access on")),  # Anthropic
    (403, openai("用户额度不足, 剩余额度: 0", "new_api_error")),  # New API
    (429, openai("You exceeded your current quota. Quota exceeded for metric: x, limit: 0 Retry in 6s")),
]


@pytest.mark.parametrize(("status", "body"), UNPAID)
def test_an_empty_account_is_no_rate_limit_and_no_fault_of_the_request(status: int, body: bytes) -> None:
    error = PEER.error_response(status, {}, body)
    assert error.kind is E.NO_CREDIT
    assert "Pay in" in error.message
    assert "Change the request" not in error.message


LIMITS = [
    # Gemini says "quota" of the limit of a minute, and when to come back.
    json.dumps(
        [
            {
                "error": {
                    "code": 429,
                    "status": "RESOURCE_EXHAUSTED",
                    "message": "You exceeded your current quota, "
                    "please check your plan and billing details. Please retry in 26.5s.",
                    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "26s"}],
                }
            }
        ]
    ).encode(),
    openai(
        "Rate limit reached for gpt-4o: Limit 30000, Used 29000, Requested 2000. Please try again in 4.77s.",
        "tokens",
        "rate_limit_exceeded",
    ),
    json.dumps({"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}).encode(),
    json.dumps({"message": "Requests rate limit exceeded"}).encode(),  # Mistral
]


@pytest.mark.parametrize("body", LIMITS)
def test_a_limit_of_some_minutes_is_a_rate_limit(body: bytes) -> None:
    assert PEER.error_response(429, {}, body).kind is E.RATE_LIMITED


def test_when_to_come_back_is_read_in_the_body() -> None:
    assert PEER.error_response(429, {}, LIMITS[0]).retry_after_s == 26.5
    assert PEER.error_response(429, {}, LIMITS[1]).retry_after_s == 4.77
    assert PEER.error_response(429, {"Retry-After": "3"}, LIMITS[1]).retry_after_s == 3


def test_a_request_that_no_minute_allows_is_too_long() -> None:
    # Groq: continuedev/continue#10218
    words = "Request too large for model `x` on tokens per minute (TPM): Limit 12000, Requested 14137, please"
    for status in (413, 429):
        error = PEER.error_response(status, {}, openai(words, "tokens", "rate_limit_exceeded"))
        assert error.kind is E.CONTEXT_OVERFLOW
        assert "Send less" in error.message


UNKNOWN_MODELS = [
    (
        404,
        openai("The model `gpt-9` does not exist or you do not have access to it.", code="model_not_found"),
    ),
    (404, vllm("The model `x` does not exist.", 404)),
    (404, b'{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}'),
    (404, b'{"error":"model \'x\' not found"}'),  # Ollama
    (
        404,
        (
            b'[{"error":{"code":404,"status":"NOT_FOUND","message":"models/x is not '
            b"found for API version v1main, "
            b'or is not supported for generateContent."}}]'
        ),
    ),  # Gemini
    (400, b'{"error":{"message":"x is not a valid model ID","code":400}}'),  # OpenRouter
    (404, b'{"error":{"message":"No endpoints found for x.","code":404}}'),
    (400, openai("Model Not Exist")),  # DeepSeek
    (400, b'{"object":"error","message":"Invalid model: x","type":"invalid_model","code":"1500"}'),  # Mistral
    (
        404,
        openai("No models loaded. Please load a model in the developer page.", code="model_not_found"),
    ),  # LM Studio
    (
        404,
        b'{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}',
    ),
    (
        400,
        openai("/chat/completions: Invalid model name passed in model=x. Call `/v1/models`", "None", "400"),
    ),
    (
        404,
        openai("Unable to access model x. Please visit the list of models", code="model_not_available"),
    ),  # Together
    (404, openai("Model not found, inaccessible, and/or not deployed", code="NOT_FOUND")),  # Fireworks
    (404, openai("Not found the model x or Permission denied", "resource_not_found_error")),  # Moonshot
    (400, openai("模型不存在\uff0c请检查模型代码。", code="1211")),  # Zhipu
]
WRONG_PATHS = [
    (404, b"404 page not found"),  # Go: lidge-jun/opencodex#1582
    (404, b'{"detail":"Not Found"}'),  # FastAPI: vLLM, SGLang, LiteLLM
    (
        404,
        b"<!DOCTYPE html><html><body><pre>Cannot POST /v1/v1/chat/completions</pre></body></html>",
    ),  # Express
    (404, b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}'),  # llama.cpp
    (404, openai("Invalid URL (POST /v1/v1/chat/completions)")),  # OpenAI
    (404, b"<html><head><title>404 Not Found</title></head><body><center>nginx</center></body></html>"),
    (404, b'{"error":{"code":"404","message":"Resource not found"}}'),  # Azure
    (404, b'{"timestamp":"2026-01-01T00:00:00Z","status":404,"error":"Not Found","path":"/chat"}'),  # Spring
    (404, b'{"message":"no Route matched with those values"}'),  # Kong
    (404, b'{"success":false,"errors":[{"code":7000,"message":"No route for that URI"}]}'),  # Cloudflare
    (404, b""),
    (405, b'{"detail":"Method Not Allowed"}'),
    (405, b""),
    (
        404,
        b"<html><title>Error 404</title><p>The requested URL was not found on this server.</p></html>",
    ),  # Google
    (
        404,
        openai("Unknown request URL: POST /openai/chat/completions. Please check the URL for typos"),
    ),  # Groq
    (200, b'{"error":"Unexpected endpoint or method. (POST /chat/completions)"}'),  # LM Studio
]


@pytest.mark.parametrize(("status", "body"), UNKNOWN_MODELS)
def test_an_unknown_model_is_told_as_such(status: int, body: bytes) -> None:
    assert PEER.error_response(status, {}, body).kind is E.NOT_PULLED


@pytest.mark.parametrize(("status", "body"), WRONG_PATHS)
def test_a_wrong_path_is_told_from_an_unknown_model(status: int, body: bytes) -> None:
    error = PEER.error_response(status, {}, body, "http://127.0.0.1:1/v1/v1/chat/completions")
    assert error.kind is E.WRONG_PATH
    assert "path may be wrong" in error.message
    assert "http://127.0.0.1:1/v1/v1/chat/completions" in error.message
    assert "model's name" not in error.message


ONLY_RESPONSES = [
    # pgadmin-org/pgadmin4#9795, micz/ThunderAI#570
    "This model is only supported in v1/responses and not in v1/chat/completions.",
    (
        "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean "
        "to use v1/completions?"
    ),
    # Through a gateway: truefoundry/models#846
    "openai error: This is not a chat model and thus not supported in the v1/chat/completions endpoint.",
    'model "gpt-5-codex" is not accessible via the /chat/completions endpoint',  # caozhiyuan/copilot-api#102
    # Azure: langchain-ai/langchain-azure#228
    "The chatCompletion operation does not work with the specified model, gpt-5.1-codex. Please choose",
    (
        "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. Please "
        "use /v1/responses instead."
    ),
    "This model can only be used with the Responses API. Use the responses API instead.",
    "The model is only available via the Responses API.",
    "gpt-5-pro is not supported by /v1/chat/completions",
    "Please use the `/responses` endpoint for this model.",
]


@pytest.mark.parametrize("words", ONLY_RESPONSES)
def test_a_model_that_speaks_only_responses_is_there(words: str) -> None:
    error = PEER.error_response(404, {}, openai(words))
    assert error.kind is E.REFUSED
    assert "not for chat completions" in error.message


def test_a_model_that_speaks_only_responses_is_known_by_a_code() -> None:
    for body in (
        {"error": {"message": "no", "code": "unsupported_api_for_model"}},
        {"error": {"message": "Provider returned error", "metadata": {"raw": ONLY_RESPONSES[0]}}},
    ):
        assert wants_responses(Refusal.read(400, {}, json.dumps(body).encode()))
    for words in ("Invalid URL (POST /v1/chat/completions)", "The model `responses` does not exist"):
        assert not wants_responses(Refusal.read(404, {}, openai(words)))


MIDDLEMEN = [
    (
        403,
        {"Server": "cloudflare"},
        b"<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>",
    ),
    (
        403,
        {"cf-mitigated": "challenge", "Server": "cloudflare"},
        b"<html><title>Attention Required!</title></html>",
    ),
    (403, {"Server": "cloudflare"}, b"error code: 1010"),
    (
        403,
        {"Server": "CloudFront"},
        b"<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD></HTML>",
    ),
    (403, {"Server": "awselb/2.0"}, b"<html><head><title>403 Forbidden</title></head></html>"),
    (
        403,
        {"X-Squid-Error": "ERR_ACCESS_DENIED 0"},
        b"<html><head><title>ERROR: Access denied</title></head></html>",
    ),
    (403, {}, b"<html><head><title>Blocked by policy</title></head><body>Zscaler</body></html>"),
    (520, {}, b"error code: 520"),
    (521, {"Server": "cloudflare"}, b"<!DOCTYPE html><title>x | 521: Web server is down</title>"),
    (522, {}, b""),
    (524, {}, b"error code: 524"),
    (525, {}, b""),
    (526, {}, b""),
    (530, {}, b"error code: 1033"),
]


@pytest.mark.parametrize(("status", "headers", "body"), MIDDLEMEN)
def test_an_answer_of_a_proxy_in_the_servers_place_is_reported(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    error = PEER.error_response(status, headers, body)
    assert error.kind is E.UNREACHABLE
    assert "in front of the server" in error.message
    assert "key that is valid" not in error.message
    assert str(status) in error.message


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (
            403,
            openai(
                "Country, region, or territory not supported",
                "request_forbidden",
                "unsupported_country_region_territory",
            ),
            E.UNAUTHENTICATED,
            "country",
        ),
        (
            403,
            openai("You are not allowed to sample from this model"),
            E.UNAUTHENTICATED,
            "key that is valid",
        ),
        (
            400,
            (
                b'[{"error":{"code":400,"message":"API key not valid. Please pass a '
                b'valid API key.","details":'
                b'[{"reason":"API_KEY_INVALID"}]}}]'
            ),
            E.UNAUTHENTICATED,
            "key that is valid",
        ),
        (413, b"<html><title>413 Request Entity Too Large</title></html>", E.REFUSED, "Send less"),
        (500, openai("model runner has unexpectedly stopped"), E.FAILED, "log"),
        (400, b'{"detail":[{"loc":["body"],"msg":"odd"}]}', E.REFUSED, "Change the request"),
        (418, b"", E.REFUSED, "418"),
    ],
)
def test_each_carries_its_next_step(status: int, body: bytes, kind: ModelErrorKind, words: str) -> None:
    error = PEER.error_response(status, {}, body)
    assert error.kind is kind
    assert words in error.message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": {"code": 429, "message": "slow"}}, E.RATE_LIMITED),
        ({"error": {"code": 402, "message": "no more"}}, E.NO_CREDIT),
        ({"error": {"type": "invalid_request_error", "message": "odd"}}, E.REFUSED),
        ({"error": {"type": "overloaded_error", "message": "busy"}}, E.OVERLOADED),
        ({"error": {"code": 502, "message": "gone"}}, E.UNREACHABLE),
        ({"error": "out of memory"}, E.FAILED),
        # MiniMax, with the status of a good answer
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, E.NO_CREDIT),
        ({"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, E.RATE_LIMITED),
        (
            {"base_resp": {"status_code": 1004, "status_msg": "login fail: Please carry the API secret key"}},
            E.UNAUTHENTICATED,
        ),
        ({"object": "error", "message": "The model `x` does not exist.", "code": 404}, E.NOT_PULLED),
    ],
)
def test_errors_inside_a_stream(error: object, kind: ModelErrorKind) -> None:
    assert PEER.error_event(error).kind is kind


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"error":' * 5_000, b"{}", b"[]", b"null", b"0", b'""', b"\xff"]
)
def test_a_refusal_without_sense_is_still_an_error(body: bytes) -> None:
    assert PEER.error_response(400, {}, body).kind is E.REFUSED
