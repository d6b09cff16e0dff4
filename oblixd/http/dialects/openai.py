"""What OpenAI's two APIs share: sampling, schemas, token counts, errors and the fields that are refused."""

from __future__ import annotations

from typing import Any

from oblix.v1 import executions_pb2

from oblixd.http.body import Body, schema_text, unsupported_error
from oblixd.http.failures import OVERFLOW, Failure

ANY_OBJECT = '{"type":"object"}'
"""The schema of JSON mode without a schema."""

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
_CODES = {
    OVERFLOW: "context_length_exceeded",
    "TOKEN_MISSING": "invalid_api_key",
    "TOKEN_UNKNOWN": "invalid_api_key",
    "MODEL_NOT_FOUND": "model_not_found",
    "MODEL_RATE_LIMITED": "rate_limit_exceeded",
    "BUDGET_SPENT": "insufficient_quota",
    "RESPONSE_NOT_FOUND": "previous_response_not_found",
}
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
    "background": (False,),
    "conversation": (),
    "prompt": (),
}
"""Fields that are refused, and the values that ask for nothing."""


def refuse_unsupported(body: Body) -> None:
    """Raise InvalidArgumentError for a field that would change the answer and can't be honoured."""
    for name, neutral in _NEUTRAL.items():
        value = body.values.get(name)
        if value is not None and value not in neutral:
            raise unsupported_error(name, "leave it out")


def set_sampling(body: Body, options: executions_pb2.GenerationOptions) -> None:
    """Take over temperature and top_p."""
    for name in ("temperature", "top_p"):
        value = body.number(name)
        if value is not None:
            setattr(options, name, value)


def response_schema(form: Body, schema: Body) -> str:
    """Return the schema that an answer has to fit, by the form's type; empty: any text."""
    kind = form.text("type", "text")
    if kind == "text":
        return ""
    if kind == "json_object":
        return ANY_OBJECT
    if kind == "json_schema":
        return schema_text(schema.values) or ANY_OBJECT
    raise unsupported_error(form.field("type"), "it takes text, json_object or json_schema")


def token_counts(completion: executions_pb2.ExecutionCompleted) -> tuple[int, int]:
    """Return the tokens read and written as the model's server counted them, else as estimated."""
    usage = completion.message.usage
    return usage.input_tokens or completion.context.sent_tokens, usage.output_tokens


def error(failure: Failure) -> dict[str, Any]:
    """Return an error in OpenAI's form. Agents know a full context by its code, so it always has it."""
    return {
        "error": {
            "message": error_message(failure),
            "type": _TYPES.get(failure.status, "server_error"),
            "param": failure.field or None,
            "code": error_code(failure),
        }
    }


def error_code(failure: Failure) -> str:
    """Return the code by which OpenAI's clients tell errors apart."""
    return _CODES.get(failure.reason, failure.reason.lower())


def error_message(failure: Failure) -> str:
    """Return the sentence; of a full context it begins with the words that clients look for."""
    if failure.reason != OVERFLOW or not failure.window_tokens:
        return failure.message
    return (
        f"This model's maximum context length is {failure.window_tokens} tokens, and the request needs "
        f"{failure.needed_tokens}. {failure.message}"
    )
