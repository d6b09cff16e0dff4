"""What a person chooses in the editor for a session: the routing policy, the model, how much it thinks.

Policies are the protocol's modes. All three are its configuration options, too.
They are kept with the session: the policy as its own, the rest in `context.acp`,
which no model sees.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from acp import schema

from oblix import InvalidArgumentError, OblixClient
from oblix._convert.values import from_struct
from oblix.v1 import daemon_pb2, sessions_pb2

ROUTED, DEFAULT = "auto", "default"
"""The choice of no model, and of no policy of the session's own."""
POLICIES = {
    DEFAULT: ("Default", "Route as the configuration says."),
    "balanced": ("Balanced", "Local while the machine has room, else cloud."),
    "prefer-local": ("Prefer local", "Local models first, whatever the load."),
    "prefer-cloud": ("Prefer cloud", "Cloud models first, while the network is good."),
    "cheapest": ("Cheapest", "The model that costs least."),
    "fastest": ("Fastest", "The model that answered fastest lately."),
    "private": ("Private", "Local models only."),
}
THINKING = {
    DEFAULT: "The model's own default",
    "off": "Off",
    "low": "Low",
    "medium": "Medium",
    "high": "High",
    "max": "As much as it can",
}
MODE, MODEL, THOUGHT = "mode", "model", "thought_level"
KEPT_IN = "acp"


@dataclass(frozen=True, slots=True)
class Choices:
    """What there is to choose from, now."""

    policies: Mapping[str, tuple[str, str]]
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is chosen for a session."""

    policy: str = DEFAULT
    model: str = ROUTED
    thinking: str = DEFAULT

    def options(self) -> dict[str, Any]:
        """Return what a prompt says of them. The session itself knows its policy."""
        options: dict[str, Any] = {}
        if self.model != ROUTED:
            options["model"] = self.model
        if self.thinking != DEFAULT:
            options["reasoning"] = self.thinking
        return options

    def change(self, option: str, value: object, choices: Choices) -> Settings:
        """Return the settings with another value. Raises InvalidArgumentError."""
        known: dict[str, tuple[str, tuple[str, ...]]] = {
            MODE: ("policy", tuple(choices.policies)),
            MODEL: ("model", (ROUTED, *choices.models)),
            THOUGHT: ("thinking", tuple(THINKING)),
        }
        if option not in known:
            raise InvalidArgumentError(f"There is no option {option}: there are {', '.join(known)}.")
        name, values = known[option]
        if value not in values:
            raise InvalidArgumentError(f"{option} is one of {', '.join(values)}; given: {value}")
        return replace(self, **{name: value})


def settings_of(session: sessions_pb2.Session, default_model: str = ROUTED) -> Settings:
    """Return what a session keeps."""
    kept = from_struct(session.context).get(KEPT_IN)
    kept = kept if isinstance(kept, dict) else {}
    model, thinking = kept.get("model"), kept.get("thinking")
    return Settings(
        policy=session.routing_policy or DEFAULT,
        model=model if isinstance(model, str) else default_model,
        thinking=thinking if isinstance(thinking, str) and thinking in THINKING else DEFAULT,
    )


async def keep(client: OblixClient, session_id: str, settings: Settings) -> None:
    """Write the settings into the session. Raises InvalidArgumentError for a policy that is not known."""
    kept = {"model": settings.model, "thinking": settings.thinking}
    policy = "" if settings.policy == DEFAULT else settings.policy
    await asyncio.to_thread(
        lambda: client.update_session(session_id, routing_policy=policy, context={KEPT_IN: kept})
    )


async def choices_of(client: OblixClient) -> Choices:
    """Return the policies and the models that the daemon knows now."""
    models = await asyncio.to_thread(client.list_models)
    names = tuple(f"{provider}:{name}" for provider, listed in models.items() for name in listed)
    return Choices(POLICIES | await _configured_policies(client), names)


async def _configured_policies(client: OblixClient) -> dict[str, tuple[str, str]]:
    answer = await client._transport.acall(
        lambda link: link.daemon.GetConfig, daemon_pb2.GetConfigRequest(), repeatable=True
    )
    setting = next((one for one in answer.settings if one.key == "routing.policies"), None)
    written = json.loads(setting.value_json) if setting else []
    names = [one["name"] for one in written if isinstance(one, dict) and one.get("name")]
    return {name: (name, "A policy of the configuration.") for name in names}


def modes_of(settings: Settings, choices: Choices) -> schema.SessionModeState:
    """Return the policies as the protocol's modes."""
    modes = [
        schema.SessionMode(id=policy, name=name, description=meaning)
        for policy, (name, meaning) in choices.policies.items()
    ]
    return schema.SessionModeState(current_mode_id=settings.policy, available_modes=modes)


def config_options_of(settings: Settings, choices: Choices) -> list[schema.SessionConfigOptionSelect]:
    """Return all three as the protocol's configuration options, the most important first."""
    models = dict.fromkeys((ROUTED, *choices.models, settings.model))
    return [
        _select(MODEL, "Model", {name: _model_name(name) for name in models}, settings.model, "model"),
        _select(
            MODE,
            "Routing policy",
            {policy: name for policy, (name, _) in choices.policies.items()},
            settings.policy,
            "mode",
        ),
        _select(THOUGHT, "Thinking", THINKING, settings.thinking, "thought_level"),
    ]


def _model_name(model: str) -> str:
    return "Routed: the right one at the moment" if model == ROUTED else model


def _select(
    option: str, name: str, values: Mapping[str, str], current: str, category: Any
) -> schema.SessionConfigOptionSelect:
    options = [schema.SessionConfigSelectOption(value=value, name=shown) for value, shown in values.items()]
    return schema.SessionConfigOptionSelect(
        type="select",
        id=option,
        name=name,
        category=category,
        current_value=current,
        options=options,
    )
