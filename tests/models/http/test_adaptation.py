"""Fields that a server refuses: known from its words, changed once, remembered for the model, and told."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from oblix.testing import Answer, ModelServer
from oblix.testing.exchange import Exchange
from support.drivers.model_requests import Heard, ask, question
from support.servers.providers import KINDS

from oblixd.models.base import Connection, ModelErrorKind, Reasoning
from oblixd.models.embedded.connection import EmbeddedModels, EmbeddedSettings
from oblixd.models.http.adaptation import Adaptations, Attempt
from oblixd.models.http.refusals import Refusal
from oblixd.models.providers.catalog import providers
from oblixd.models.providers.claude import MAX_TOKENS
from oblixd.models.providers.reasoning import fit, for_custom, for_ollama

Refused = tuple[int, object]


def openai(message: str, param: str | None = None, code: str | None = None) -> object:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def extra(*loc: str) -> object:
    """As servers say it that check a request with pydantic."""
    return {
        "detail": [
            {"type": "extra_forbidden", "loc": ["body", *loc], "msg": "Extra inputs are not permitted"}
        ]
    }


def attempt_at(body: dict[str, Any], *refusals: Refused) -> tuple[dict[str, Any], Attempt]:
    """The request after so many refusals, each of which must have changed it."""
    attempt = Adaptations().of("http://x", "m").attempt()
    for status, words in refusals:
        refusal = Refusal.read(status, {}, json.dumps(words).encode())
        assert attempt.learn(refusal, attempt.apply(body))
    return attempt.apply(body), attempt


SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"strict": 1}, "strict": True}}
PLAIN = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"strict": 1}}}
CHANGES: list[tuple[dict[str, Any], Refused, dict[str, Any]]] = [
    # Body, refusal, body after it. OpenAI, Azure: ThinkInAIXYZ/deepchat#336, decolua/9router#846.
    (
        {"max_tokens": 5},
        (
            400,
            openai(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                "'max_completion_tokens' instead.",
                "max_tokens",
                "unsupported_parameter",
            ),
        ),
        {"max_completion_tokens": 5},
    ),
    # GitHub Copilot: caozhiyuan/copilot-api#164
    (
        {"max_tokens": 5},
        (
            400,
            {
                "error": {
                    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                    "'max_completion_tokens' instead.",
                    "code": "invalid_request_body",
                }
            },
        ),
        {"max_completion_tokens": 5},
    ),
    # Older vLLM: voideditor/void#128
    (
        {"max_completion_tokens": 5},
        (
            400,
            {
                "object": "error",
                "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens'), "
                "'msg': 'Extra inputs are not permitted', 'input': 5}]",
                "type": "BadRequestError",
                "code": 400,
            },
        ),
        {"max_tokens": 5},
    ),
    # Mistral: openai/openai-agents-python#442
    ({"stream_options": {}}, (422, {"object": "error", "message": extra("stream_options")}), {}),
    ({"stream_options": {}}, (422, extra("stream_options")), {}),
    (
        {"stream_options": {}},
        (
            400,
            [
                {
                    "error": {
                        "code": 400,
                        "message": 'Unknown name "stream_options": Cannot find field.',
                        "status": "INVALID_ARGUMENT",
                    }
                }
            ],
        ),
        {},
    ),  # Gemini
    (
        {"stream_options": {}},
        (400, openai("Unrecognized request argument supplied: stream_options")),
        {},
    ),  # Azure
    (
        {"stream_options": {}},
        (
            422,
            (
                "Failed to deserialize the JSON body into the target type: unknown field "
                "`stream_options`, expected one of `model`, `messages` at line 1 column 9"
            ),
        ),
        {},
    ),  # TGI
    (
        {"stream_options": {}},
        (
            400,
            {
                "message": "Malformed input request: extraneous key [stream_options] is not "
                "permitted, please reformat your input and try again."
            },
        ),
        {},
    ),  # Bedrock
    ({"stream_options": {}}, (400, openai("include_usage is not supported")), {}),
    # OpenAI's models that reason
    (
        {"temperature": 0.2},
        (
            400,
            openai(
                "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) "
                "value is supported.",
                "temperature",
                "unsupported_value",
            ),
        ),
        {},
    ),
    # Anthropic
    ({"temperature": 0.2}, (400, openai("`temperature` is deprecated for this model.")), {}),
    (
        {"temperature": 0.2, "top_p": 0.5},
        (
            400,
            openai("`temperature` and `top_p` cannot both be specified for this model. Please use only one."),
        ),
        {"temperature": 0.2},
    ),
    (
        {"temperature": 0.2},
        (400, openai("`temperature` may only be set to 1 when thinking is enabled.")),
        {},
    ),
    ({"seed": 1}, (400, openai("property 'seed' is unsupported")), {}),  # Groq
    ({"seed": 1}, (422, extra("seed")), {}),
    (
        {"response_format": SCHEMA},
        (400, [{"error": {"message": 'Unknown name "strict" at response_format'}}]),
        {"response_format": PLAIN},
    ),
    (
        {"response_format": SCHEMA},
        (422, extra("response_format", "json_schema", "strict")),
        {"response_format": PLAIN},
    ),
    (
        {"stream": True, "stream_options": {}},
        (
            400,
            openai(
                "Your organization must be verified to stream this model. It is not enabled for it.",
                "stream",
                "unsupported_value",
            ),
        ),
        {"stream": False},
    ),
    (
        {"reasoning_effort": "none"},
        (
            400,
            openai(
                "Unsupported value: 'reasoning_effort' does not support 'none' with "
                "this model. Supported values are: 'minimal', 'low'.",
                "reasoning_effort",
                "unsupported_value",
            ),
        ),
        {"reasoning_effort": "minimal"},
    ),
    (
        {"reasoning_effort": "max"},
        (400, openai("Unsupported value: 'reasoning_effort' does not support 'max'", "reasoning_effort")),
        {"reasoning_effort": "xhigh"},
    ),
    (
        {"reasoning_effort": "low"},
        (400, openai("Unrecognized request argument supplied: reasoning_effort")),
        {},
    ),
    ({"think": True}, (400, {"error": '"llama2" does not support thinking'}), {}),  # Ollama
    # Anthropic's models before adaptive thinking
    (
        {
            "max_tokens": 32_000,
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "low"},
            "top_p": 1,
        },
        (400, openai("adaptive thinking is not supported on this model")),
        {"max_tokens": 32_000, "thinking": {"type": "enabled", "budget_tokens": 2048}},
    ),
    (
        {"max_tokens": 9000, "thinking": {"type": "adaptive"}, "output_config": {"format": 1}},
        (
            400,
            openai(
                "thinking: Input tag 'adaptive' found using 'type' does not match any of the expected tags"
            ),
        ),
        {
            "max_tokens": 9000,
            "thinking": {"type": "enabled", "budget_tokens": 8192},
            "output_config": {"format": 1},
        },
    ),
    ({"thinking": {"type": "disabled"}}, (400, openai("thinking is not supported on this model")), {}),
    # The most that a model writes: Anthropic, OpenAI, DeepSeek, Groq, DashScope
    (
        {"max_tokens": 64_000},
        (
            400,
            openai(
                "max_tokens: 64000 > 32000, which is the maximum allowed number of output "
                "tokens for claude-opus-4"
            ),
        ),
        {"max_tokens": 32_000},
    ),
    (
        {"max_tokens": 200_000},
        (
            400,
            openai(
                "max_tokens is too large: 200000. This model supports at most 16384 "
                "completion tokens, whereas you provided 200000."
            ),
        ),
        {"max_tokens": 16_384},
    ),
    (
        {"max_tokens": 9000},
        (400, openai("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]")),
        {"max_tokens": 8192},
    ),
    (
        {"max_tokens": 9000},
        (400, openai("`max_tokens` must be less than or equal to `8192`")),
        {"max_tokens": 8192},
    ),
    ({"max_tokens": 9000}, (400, openai("Range of max_tokens should be [1, 2000]")), {"max_tokens": 2000}),
    # vLLM: anomalyco/opencode#17746
    (
        {"max_tokens": 32_000},
        (
            400,
            openai(
                "You passed 120000 input tokens and requested 32000 output tokens. However, the model's "
                "context length is only 131072 tokens, resulting in a maximum input length of 99072 tokens."
            ),
        ),
        {"max_tokens": 131_072 - 120_000 - 16},
    ),
    # What the context leaves: docker/docker-agent#569, vllm-project/vllm#20409, huggingface/chat-ui#340
    (
        {"max_tokens": 64_000},
        (
            400,
            openai(
                "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, "
                "decrease input length or `max_tokens` and try again"
            ),
        ),
        {"max_tokens": 200_000 - 178_959 - 16},
    ),
    (
        {"max_tokens": 10_000},
        (
            400,
            openai(
                "This model's maximum context length is 16384 tokens. However, you requested "
                "22946 tokens (12946 in the messages, 10000 in the completion)."
            ),
        ),
        {"max_tokens": 16_384 - 12_946 - 16},
    ),
    (
        {"max_tokens": 1024},
        (
            422,
            {
                "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 1512. "
                "Given: 1000 `inputs` tokens and 1024 `max_new_tokens`"
            },
        ),
        {"max_tokens": 496},
    ),
]
UNCHANGED: list[tuple[dict[str, Any], Refused]] = [
    ({"temperature": 9}, (400, openai("temperature: range: 0..1"))),
    ({"temperature": 9}, (400, openai("Invalid 'temperature': must be between 0 and 2."))),
    ({"top_p": 2}, (400, openai("bad value for top_p"))),
    ({"max_tokens": 5}, (400, openai("messages: text content blocks must be non-empty"))),
    ({"tools": [1], "max_tokens": 5}, (400, openai("tools is not supported by this model"))),
    ({"response_format": SCHEMA}, (400, openai("response_format is not supported by this model"))),
    ({"temperature": 1}, (401, openai("temperature is not supported"))),
    ({"temperature": 1}, (429, openai("temperature is not supported"))),
    # No room for an answer is an overflow.
    ({"max_tokens": 500}, (400, openai("exceed context limit: 199950 + 500 > 200000"))),
]


@pytest.mark.parametrize(("body", "refused", "after"), CHANGES)
def test_a_refused_field_is_changed(body: dict[str, Any], refused: Refused, after: dict[str, Any]) -> None:
    before = json.dumps(body)
    changed, attempt = attempt_at(body, refused)
    assert changed == after
    assert json.dumps(body) == before, "the request that was given is left as it was"
    assert len(attempt.notes) == 1
    again = Refusal.read(refused[0], {}, json.dumps(refused[1]).encode())
    if changed.keys() <= {"max_tokens", "max_completion_tokens"}:
        assert not attempt.learn(again, changed), "each thing is changed once"


@pytest.mark.parametrize(("body", "refused"), UNCHANGED)
def test_a_field_that_the_request_sets_is_not_changed(body: dict[str, Any], refused: Refused) -> None:
    attempt = Adaptations().of("http://x", "m").attempt()
    assert not attempt.learn(Refusal.read(refused[0], {}, json.dumps(refused[1]).encode()), body)
    assert attempt.apply(body) == body


class Strict(KINDS["openai"].server):  # type: ignore[misc]
    """A server that refuses fields, and tells which, one after the other."""

    refuses: tuple[str, ...] = ()

    def route(self, exchange: Exchange) -> None:
        body = exchange.received.body if exchange.received.method == "POST" else {}
        for field in self.refuses:
            if field in body:
                told = f"Unsupported parameter: '{field}' is not supported with this model."
                exchange.send(400, self.error(400, told))
                return
        super().route(exchange)


@pytest.fixture
def strict() -> Strict:
    with ExitStack() as running:
        yield running.enter_context(Strict())


def connect(server: ModelServer, kind: str = "custom") -> Callable[[], Connection]:
    """What makes connections of one daemon."""
    settings = EmbeddedSettings(runtime_dir=None, state_dir=None)  # type: ignore[arg-type]
    made = providers(EmbeddedModels(settings))[kind]
    return lambda: made(KINDS[kind].spec(server.url))


async def ask_once(connection: Connection) -> Heard:
    heard = await ask(connection, question(temperature=0.5, max_tokens=9, seed=1))
    await connection.close()
    return heard


async def test_changes_are_made_remembered_and_told(strict: Strict) -> None:
    strict.refuses = ("max_tokens", "stream_options", "temperature")
    strict.script(Answer("Hello"), Answer("Hello"))
    make = connect(strict)
    heard = await ask_once(make())
    assert heard.error is None
    assert heard.finished is not None
    assert len(heard.finished.adaptations) == 3
    assert "`max_completion_tokens`" in " ".join(heard.finished.adaptations)
    assert len(strict.requests) == 4
    body = strict.requests[-1].body
    assert (body["max_completion_tokens"], body["seed"]) == (9, 1)
    later = await ask_once(make())
    assert later.finished is not None
    assert later.finished.adaptations == heard.finished.adaptations, (
        "another connection knows it from the start"
    )
    assert len(strict.requests) == 5


async def test_a_server_that_refuses_whatever_is_changed_is_left_in_the_end(strict: Strict) -> None:
    strict.refuses = ("model",)
    heard = await ask_once(connect(strict)())
    assert heard.error is not None
    assert heard.error.kind is ModelErrorKind.REFUSED


def test_the_least_used_models_are_forgotten() -> None:
    known = Adaptations(most=2)
    first = known.of("e", "a")
    known.of("e", "b")
    assert known.of("e", "a") is first
    known.of("e", "c")
    assert known.of("e", "a") is first
    assert known.of("e", "b") is not first


async def test_claude_writes_as_much_as_the_model_can() -> None:
    kind = KINDS["claude"]
    with kind.server() as server:
        server.script("One", "Two", Answer("Three"))
        connection = kind.connect(kind.spec(server.url))
        assert connection.body(question())["max_tokens"] == MAX_TOKENS
        await connection.probe()
        assert connection.context_window == 200_000
        heard = await ask(connection)
        assert server.requests[-1].body["max_tokens"] == 64_000
        assert heard.finished is not None
        assert heard.finished.adaptations == ()
        await ask(connection, question(max_tokens=70_000))
        assert server.requests[-1].body["max_tokens"] == 64_000, "the server says what the model writes"
        await connection.close()


@pytest.mark.parametrize(
    ("kind", "asked", "body"),
    [
        ("openai", "off", {"reasoning_effort": "none"}),
        ("openai", "high", {"reasoning_effort": "high"}),
        ("claude", "off", {"thinking": {"type": "disabled"}}),
        ("claude", "on", {"thinking": {"type": "adaptive"}}),
        ("claude", "low", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        ("ollama", "off", {"think": False}),
        ("ollama", "max", {"think": True}),
        ("custom", "off", {"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": False}}),
    ],
)
def test_reasoning_in_the_words_of_each_provider(kind: str, asked: str, body: dict[str, Any]) -> None:
    connection = KINDS[kind].connect(KINDS[kind].spec("http://127.0.0.1:1"))
    plain = connection.body(question())
    written = connection.body(question(reasoning=Reasoning(asked)))
    assert {key: value for key, value in written.items() if plain.get(key) != value} == body


@pytest.mark.parametrize(
    ("endpoint", "asked", "body"),
    [
        ("https://openrouter.ai/api/v1", "off", {"reasoning": {"enabled": False}}),
        ("https://openrouter.ai/api/v1", "max", {"reasoning": {"effort": "max"}}),
        ("https://api.deepseek.com", "on", {"thinking": {"type": "enabled"}}),
        ("https://api.z.ai/api/paas/v4", "off", {"thinking": {"type": "disabled"}}),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "low", {"enable_thinking": True}),
        ("https://api.groq.com/openai/v1", "low", {"reasoning_effort": "low"}),
        ("https://notdeepseek.com", "low", {"reasoning_effort": "low"}),
    ],
)
def test_reasoning_by_the_servers_address(endpoint: str, asked: str, body: dict[str, Any]) -> None:
    assert for_custom(Reasoning(asked), endpoint, is_local=False) == body


def test_levels_where_a_model_knows_nothing_else() -> None:
    assert for_ollama(Reasoning.OFF, "gpt-oss:20b") == {"think": "low"}
    assert for_ollama(Reasoning.MAX, "openai/gpt-oss") == {"think": "high"}
    assert for_ollama(None, "gpt-oss") == {}


def test_a_model_that_does_not_think_is_not_told_to() -> None:
    request = question(reasoning=Reasoning.HIGH)
    assert fit((), request) == (request, ""), "of an unknown model it is tried"
    assert fit(("reasoning",), request) == (request, "")
    plain, note = fit(("tools",), request)
    assert plain.options.reasoning is None
    assert note
    assert fit(("tools",), question(reasoning=Reasoning.OFF))[1] == "", "it does what is asked"
