"""How much a model is to think before it answers, in the words of each provider.

The names come from the API references of OpenAI, Anthropic, Ollama, OpenRouter, DeepSeek, Alibaba, Zhipu
and Moonshot, and from the chat templates that vLLM, SGLang and llama.cpp hand `enable_thinking` to.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from oblixd.models.base import ChatRequest, Reasoning

FEATURE = "reasoning"
NOTE = "`reasoning` was left out: the model does not think"
_EFFORTS = {
    Reasoning.OFF: "none",
    Reasoning.ON: "medium",
    Reasoning.LOW: "low",
    Reasoning.MEDIUM: "medium",
    Reasoning.HIGH: "high",
    Reasoning.MAX: "max",
}
_LEVELS_ONLY = re.compile(r"(^|/)gpt-oss\b")
"""Models that think at a level, and can't be told not to."""
_BY_TYPE = ("deepseek.com", "z.ai", "bigmodel.cn", "moonshot.ai", "moonshot.cn", "volces.com")
_BY_SWITCH = ("aliyuncs.com", "siliconflow.cn", "siliconflow.com")


def fit(known_levels: tuple[str, ...], request: ChatRequest) -> tuple[ChatRequest, str]:
    """Leave `reasoning` out for a model that is known not to think. Gives the request, and what was done."""
    asked = request.options.reasoning
    if asked is None or not known_levels or FEATURE in known_levels:
        return request, ""
    plain = replace(request, options=replace(request.options, reasoning=None))
    return plain, "" if asked is Reasoning.OFF else NOTE


def for_openai(reasoning: Reasoning | None) -> dict[str, Any]:
    """Write it for chat completions."""
    return {} if reasoning is None else {"reasoning_effort": _EFFORTS[reasoning]}


def for_responses(reasoning: Reasoning | None) -> dict[str, Any]:
    """Write it for /v1/responses."""
    return {} if reasoning is None else {"reasoning": {"effort": _EFFORTS[reasoning]}}


def for_claude(reasoning: Reasoning | None) -> dict[str, Any]:
    """Write it for Claude's newer models. The older ones refuse it, and are then told a number of tokens."""
    if reasoning is None:
        return {}
    if reasoning is Reasoning.OFF:
        return {"thinking": {"type": "disabled"}}
    effort = {} if reasoning is Reasoning.ON else {"output_config": {"effort": reasoning.value}}
    return {"thinking": {"type": "adaptive"}, **effort}


def for_ollama(reasoning: Reasoning | None, model: str) -> dict[str, Any]:
    """Write it for Ollama: on or off, or a level for the models that were taught levels."""
    if reasoning is None:
        return {}
    if not _LEVELS_ONLY.search(model.lower()):
        return {"think": reasoning is not Reasoning.OFF}
    level = {Reasoning.OFF: "low", Reasoning.ON: "medium", Reasoning.MAX: "high"}.get(
        reasoning, reasoning.value
    )
    return {"think": level}


def for_template(reasoning: Reasoning | None) -> dict[str, Any]:
    """Write it for servers that hand it to the model's chat template: llama.cpp, vLLM, SGLang."""
    return (
        {}
        if reasoning is None
        else {"chat_template_kwargs": {"enable_thinking": reasoning is not Reasoning.OFF}}
    )


def for_custom(reasoning: Reasoning | None, endpoint: str, *, is_local: bool) -> dict[str, Any]:
    """Write it for a server that speaks OpenAI's calls, as far as its address tells which it is."""
    if reasoning is None:
        return {}
    host = urlsplit(endpoint).hostname or ""
    thinks = reasoning is not Reasoning.OFF
    if _is_at(host, ("openrouter.ai",)):
        named = reasoning not in {Reasoning.OFF, Reasoning.ON}
        return {"reasoning": {"effort": _EFFORTS[reasoning]} if named else {"enabled": thinks}}
    if _is_at(host, _BY_TYPE):
        return {"thinking": {"type": "enabled" if thinks else "disabled"}}
    if _is_at(host, _BY_SWITCH):
        return {"enable_thinking": thinks}
    return {**for_openai(reasoning), **(for_template(reasoning) if is_local else {})}


def _is_at(host: str, domains: tuple[str, ...]) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)
