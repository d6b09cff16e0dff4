"""The options that name a model, and the hooking of what they name."""

from __future__ import annotations

import argparse
from typing import Any, Literal, Protocol

import oblix
from oblix.cli import preferences
from oblix.cli.errors import CommandError
from oblix.cli.parser import suggestion

Location = Literal["local", "cloud"]
HELP = "the model: PROVIDER:NAME, a name that `oblix models` lists, or an alias"


class Hooks(Protocol):
    """What hooks models: `OblixClient`, or the client of a single prompt."""

    def list_models(self) -> dict[str, list[str]]:
        """Return the models that prompts may go to, by provider."""

    async def hook_model(
        self, model_type: oblix.ModelType, model_name: str, endpoint: str | None = None, **options: Any
    ) -> Any:
        """Add one."""


def add_model(parser: Any) -> None:
    """Declare `--model`, `--endpoint` and `--api-key-file`."""
    parser.add_argument("-m", "--model", metavar="MODEL", help=HELP)
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help="where the model's server listens, if not as usual; a custom: model is local where that is this "
        "machine (localhost, 127.0.0.1, ::1), else a cloud model",
    )
    parser.add_argument("--api-key-file", metavar="FILE", help="the model's key: a file only you can read")


def add_policy(parser: Any) -> None:
    """Declare `--policy`."""
    parser.add_argument(
        "--policy",
        metavar="NAME",
        help="route by this policy: balanced, prefer-local, prefer-cloud, cheapest, fastest, private, "
        "or one of the configuration",
    )


def model_id(text: str) -> tuple[oblix.ModelType, str]:
    """`ollama:llama2` as (oblix.ModelType.OLLAMA, "llama2"). Raises argparse.ArgumentTypeError."""
    provider, _, name = text.partition(":")
    if provider not in set(oblix.ModelType) or not name:
        expected = f"PROVIDER:NAME with one of the providers {', '.join(oblix.ModelType)}"
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return oblix.ModelType(provider), name


async def hook(client: Hooks, text: str | None, arguments: argparse.Namespace) -> str | None:
    """Register what a person named. Return the id to pin, or None where routing is to choose.

    A model that the daemon has already is not hooked: its key and endpoint are those of the configuration.
    """
    endpoint, key_file = arguments.endpoint, arguments.api_key_file
    if text is None:
        for option, value in (("--endpoint", endpoint), ("--api-key-file", key_file)):
            if value:
                raise CommandError(f"{option} belongs to a model: name it with --model.")
        return None
    known = [] if endpoint or key_file else _known_ids(client)
    model = resolve_name(text, known)
    if model in known:
        return model
    provider, name = check_id(model, known)
    if provider is oblix.ModelType.CUSTOM and not endpoint:
        raise CommandError(
            f"custom:{name} can be anywhere: say where its server listens with --endpoint URL."
        )
    if provider is not oblix.ModelType.EMBEDDED:
        from oblix._convert.presets import is_here

        await client.hook_model(
            provider,
            name,
            endpoint=endpoint,
            api_key_file=key_file,
            **location_option(provider, "local" if is_here(endpoint or "") else "cloud"),
        )
    return f"{provider}:{name}"


def known_id(client: Hooks, text: str) -> str:
    """Return the id of a model that the daemon has. Raises CommandError for what is none."""
    known = _known_ids(client)
    found = resolve_name(text, known)
    if found not in known:
        check_id(found, known)
    return found


def resolve_name(given: str, ids: list[str]) -> str:
    """Return the id that an alias, a name alone or a part of a name stands for; else what was given.

    Raises CommandError where several models are meant.
    """
    text = preferences.load().aliases.get(given, given)
    word, colon, name = text.partition(":")
    if text not in ids and colon:
        from oblix._convert.presets import PRESETS

        text = f"{PRESETS[word].provider.value}:{name}" if word in PRESETS else text
    if text in ids or (colon and word in set(oblix.ModelType)):
        return text
    named = [model for model in ids if model.partition(":")[2] == text]
    found = named or [model for model in ids if text.casefold() in model.casefold()]
    if len(found) > 1:
        raise CommandError(f"{len(found)} models are meant by {given}: {', '.join(found)}.")
    return found[0] if found else text


def location_option(provider: oblix.ModelType, location: Location) -> dict[str, Location]:
    """Return what a hook must say of where a model runs: the daemon knows it except for custom."""
    return {"location": location} if provider is oblix.ModelType.CUSTOM else {}


def _known_ids(client: Hooks) -> list[str]:
    return [f"{provider}:{name}" for provider, names in client.list_models().items() for name in names]


def check_id(text: str, ids: list[str]) -> tuple[oblix.ModelType, str]:
    """Return the provider and the name of a PROVIDER:NAME. Raises CommandError with what may be meant."""
    try:
        return model_id(text)
    except argparse.ArgumentTypeError:
        near = suggestion(text, [*ids, *(model.partition(":")[2] for model in ids)])
        message = f"there is no model {text}.{near} `oblix models` lists them; others are PROVIDER:NAME, "
        raise CommandError(f"{message}with one of {', '.join(oblix.ModelType)}.") from None
