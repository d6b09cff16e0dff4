"""Refusals whose status or code alone would send a person the wrong way: their sentences say more."""

from __future__ import annotations

import json

import pytest

from oblixd.models.base import ModelErrorKind
from oblixd.models.content_refusals import IMAGE_REFUSED, content_refusal
from oblixd.models.http.server import ServerErrors

E = ModelErrorKind
PEER = ServerErrors(title="The endpoint", endpoint="http://127.0.0.1:1")


def openai(message: str, kind: str = "invalid_request_error", code: object = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


MISLEADING = [
    # OpenRouter: the model is known, its name is right.
    (404, openai("No endpoints found that support tool use."), E.REFUSED, "the provider's settings"),
    (404, openai("No endpoints found matching your data policy"), E.REFUSED, "the provider's settings"),
    (
        403,
        openai('Your chosen model requires moderation and your input was flagged for "harassment".'),
        E.REFUSED,
        "Change the request",
    ),
    (429, openai("Rate limit exceeded: free-models-per-day. Add 10 credits"), E.RATE_LIMITED, "Wait"),
    # OpenAI
    (
        403,
        openai("Your organization must be verified to use the model `m`.", code="model_not_found"),
        E.UNAUTHENTICATED,
        "account of this key",
    ),
    # LM Studio, Ollama, text-generation-inference
    (404, openai("Insufficient system resources.", code="model_not_found"), E.FAILED, "lacks memory"),
    (500, b'{"error":"model requires more system memory (5 GiB) than is available"}', E.FAILED, "memory"),
    (424, b'{"error":"CUDA out of memory","error_type":"generation"}', E.FAILED, "lacks memory"),
    (424, b'{"error":"Request failed during generation"}', E.FAILED, "log"),
    (429, b'{"error":"Model is overloaded","error_type":"overloaded"}', E.OVERLOADED, "Wait"),
    (0, b'{"error":"Model is not loaded"}', E.NOT_PULLED, "Load the model"),
    (400, b'{"error":"Model not loaded"}', E.NOT_PULLED, "Load the model"),
    (400, b'{"error":"Model unloaded by user or crashed. Please try again"}', E.FAILED, "Ask again"),
    (401, b'{"error":"unauthorized","signin_url":"https://x"}', E.UNAUTHENTICATED, "`ollama signin`"),
    # llama.cpp calls it an error of its own.
    (500, openai("tools param requires --jinja flag", "server_error"), E.REFUSED, "Change the request"),
    (500, openai("image input is not supported", "server_error"), E.REFUSED, "Change the request"),
    (501, openai("This server does not support chat completions."), E.REFUSED, "Change the request"),
    # AWS: its keys begin with a capital letter, and "too many tokens" is no overflow.
    (400, b'{"Message":"Too many tokens, please wait before trying again."}', E.RATE_LIMITED, "Too many"),
    # SiliconFlow
    (413, b'{"message":"length of prompt_tokens (9) must be less than 8"}', E.CONTEXT_OVERFLOW, "Send less"),
    (400, '{"error":{"message":"可能包含敏感内容。"}}'.encode(), E.REFUSED, "敏感内容. Change"),
]


@pytest.mark.parametrize(("status", "body", "kind", "words"), MISLEADING)
def test_the_sentence_counts(status: int, body: bytes, kind: ModelErrorKind, words: str) -> None:
    error = PEER.error_response(status, {}, body)
    assert error.kind is kind
    assert words in error.message


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        # Azure
        (openai("You have exceeded token rate limit. Please retry after 26 seconds. Please go here"), 26),
        (openai("Rate limit reached: Used 99900. Please try again in 7m12.5s. Need more?"), 432.5),  # Groq
        (openai("Rate limit reached for gpt-4o. Please try again in 600ms. Visit"), 0.6),  # OpenAI
        (openai("No deployments available for selected model, Try again in 5 seconds."), 5),  # LiteLLM
        (openai("Too many requests, wait 2 minutes"), 120),
        (json.dumps({"error": "Model x is currently loading", "estimated_time": 20.0}).encode(), 20),
        (openai("Please wait 1 minute and 30 seconds."), 90),
        (openai("Your limit resets in 20m30s."), 1230),
        (openai("Retry after 2 days, or upgrade"), None),  # longer than is believed
        (openai("please retry again in 20s"), 20),
        (openai("429 from upstream, Retry-After: 30"), 30),
        (b'{"error":{"message":"Slow down","retry_after":12.5}}', 12.5),
        (b'{"error":{"message":"Slow down"},"retryAfter":"7"}', 7),
        (b'{"error":{"message":"Slow down","metadata":{"retry_after_ms":1500}}}', 1.5),
        (b'{"message":"Slow down","retry_after_seconds": 40}', 40),
        (b'{"error":{"details":[{"retryDelay":"7m12s"}]}}', 432),
        (b'{"message":"Slow down","retry_after":"2026-11-29T10:00:00Z"}', None),
        (openai("Created within the last 5 minutes, please wait a moment"), None),
        (openai("Please retry shortly"), None),
    ],
)
def test_when_to_come_back_is_read_in_sentences(body: bytes, seconds: float | None) -> None:
    assert PEER.error_response(429, {}, body).retry_after_s == (seconds and pytest.approx(seconds))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        # llama.cpp; OpenRouter
        (
            500,
            openai("image input is not supported - hint: you may need to provide the mmproj", "server_error"),
        ),
        (404, openai("No endpoints found that support image input")),
    ],
)
def test_an_image_that_a_model_takes_none_of_is_known_whatever_the_status(status: int, body: bytes) -> None:
    refusal = content_refusal(PEER.error_response(status, {}, body))
    assert refusal is not None
    assert (refusal.reason, refusal.is_unsupported) == (IMAGE_REFUSED, True)


def test_a_server_that_fails_refuses_no_content() -> None:
    for status, words in ((500, "the image could not be processed: worker died"), (404, "image m not found")):
        assert content_refusal(PEER.error_response(status, {}, openai(words, "server_error"))) is None
