"""Why a model stopped, in the words of every server that we know: one table.

The words come from the types of the official SDKs (OpenAI, Anthropic, Google, Mistral, Cohere, xAI),
from vLLM, SGLang, llama.cpp, Ollama and LM Studio, and from reports about DeepSeek, Zhipu, Moonshot,
Together, Bedrock, watsonx and DashScope. A word that stands nowhere here is no success.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oblixd.models.base import Finish, ModelError
from oblixd.models.http.server import ServerErrors

_ENDED = """
    stop end_turn stop_sequence stop_token stop_string stop_str eos eos_token eos_found eod end_of_text
    complete completed finished done end word normal success natural max_turns_stop stop_string_found
"""
_CUT = """
    length max_length max_tokens max_new_tokens max_output_tokens max_completion_tokens max_len max_context
    model_length token_limit length_limit limit length_capped model_context_window_exceeded
    context_length_exceeded context_length_reached context_window_exceeded max_predicted_tokens_reached
    error_limit continuation
"""
_FILTERED = """
    content_filter content_filtered content_filtering content_policy content_policy_violation moderation
    moderated filter filtered safety safety_filter recitation language blocklist prohibited_content spii
    image_safety image_prohibited_content image_recitation escalation model_armor jailbreak
    sensitive sensitive_content refusal refused guardrail guardrails guardrail_intervened error_toxic blocked
    flagged unsafe pup_limited_disabled
"""
_CALLS = "tool_calls tool_call tool_use tools tool function_call function_calls"
_UNFINISHED = "pause_turn compaction incomplete in_progress partial"
_BROKEN = """
    error errored abort aborted network_error insufficient_system_resource insufficient_system_resources
    malformed_function_call malformed_response malformed_model_output malformed_tool_use
    malformed_tool_call unexpected_tool_call too_many_tool_calls missing_thought_signature invalid_tool_call
    timeout timed_out time_limit cancel cancelled canceled user_cancel user_stopped server_error
    internal_error upstream_error engine_error failed failure no_image image_other other unload
    model_unloaded load overloaded out_of_memory oom preempted disconnected connection_error repetition
    unknown
"""
_NOT_YET = "null none unspecified not_finished undefined"
"""What stands in place of a reason while there is none: a text, as some servers write nothing."""

_PREFIXES = ("finishreason", "stopreason", "reason")


def _names(words: str) -> frozenset[str]:
    return frozenset(word.replace("_", "") for word in words.split())


_ENDS: Mapping[str, Finish] = {
    **dict.fromkeys(_names(_ENDED), Finish.STOP),
    **dict.fromkeys(_names(_CUT), Finish.LENGTH),
    **dict.fromkeys(_names(_FILTERED), Finish.CONTENT_FILTER),
    **dict.fromkeys(_names(_CALLS), Finish.TOOL_CALLS),
}
_WAITS = _names(_NOT_YET)
_PAUSES = _names(_UNFINISHED)
_BREAKS = _names(_BROKEN)


class FinishReasons:
    """Why one answer ended, out of all that its events say of it."""

    def __init__(self, server_errors: ServerErrors) -> None:
        self.finish: Finish | None = None
        """None: nothing was said yet."""
        self._server_errors = server_errors

    def take(self, word: object, words: str = "", native: str = "") -> None:
        """Take what an event gives as its reason. `words`: what the server tells of it.

        `native`: the reason in the words of the provider behind a gateway.

        Raises ModelError where it is no success; not once there was a reason before.
        The first reason counts, but a plain stop is made more exact by a later one.
        """
        reason = _normal(word)
        if not reason or reason in _WAITS:
            return
        finish = _ENDS.get(reason)
        if finish is None:
            if self.finish is None:
                raise self._failure(reason, native or str(word), words)
        elif self.finish in (None, Finish.STOP):
            self.finish = finish

    def _failure(self, reason: str, word: str, words: str) -> ModelError:
        quoted = word[:60].strip()
        if words:
            return self._server_errors.error_event({"message": words, "code": quoted})
        if reason in _PAUSES:
            return self._server_errors.broken_stream(f"it paused ({quoted}) and waits to be asked to go on")
        known = "it stopped with" if reason in _BREAKS else "it stopped for a reason that is not known here,"
        return self._server_errors.broken_stream(f"{known} {quoted!r}")


def _normal(reason: object) -> str:
    """Give a reason without case, separators and prefixes. SGLang's own form wraps it in an object."""
    if isinstance(reason, dict):
        reason = reason.get("type")
    if not isinstance(reason, str):
        return ""
    letters = re.sub(r"[^a-z0-9]", "", reason.lower())
    for prefix in _PREFIXES:
        if letters.startswith(prefix) and letters != prefix:
            return letters.removeprefix(prefix)
    return letters


def first_reason(holder: Mapping[str, Any], *keys: str) -> object:
    """Give the first of these reasons that an object holds; None where it holds none."""
    return next((holder[key] for key in keys if holder.get(key)), None)
