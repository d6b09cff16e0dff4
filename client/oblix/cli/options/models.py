"""The options that name a model, and the hooking of what they name."""

from __future__ import annotations

import argparse
from typing import Literal

from oblix import ModelType, OblixClient
from oblix._convert.presets import is_here
from oblix.cli.errors import CommandError

Location = Literal["local", "cloud"]


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declare `--model`, `--endpoint` and `--api-key-file`."""
    parser.add_argument(
        "--model", metavar="PROVIDER:NAME", type=model_id, help="this model, wherever it would go"
    )
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help="where the model's server listens, if not as usual; a custom: model is local where that is this "
        "machine (localhost, 127.0.0.1, ::1), else a cloud model",
    )
    parser.add_argument("--api-key-file", metavar="FILE", help="the model's key: a file only you can read")


def add_policy(parser: argparse.ArgumentParser) -> None:
    """Declare `--policy`."""
    parser.add_argument(
        "--policy",
        metavar="NAME",
        help="route by this policy: balanced, prefer-local, prefer-cloud, cheapest, fastest, private, "
        "or one of the configuration",
    )


def model_id(text: str) -> tuple[ModelType, str]:
    """`ollama:llama2` as (ModelType.OLLAMA, "llama2"). Raises argparse.ArgumentTypeError."""
    provider, _, name = text.partition(":")
    if provider not in set(ModelType) or not name:
        expected = f"PROVIDER:NAME with one of the providers {', '.join(ModelType)}"
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return ModelType(provider), name


async def hook(client: OblixClient, arguments: argparse.Namespace) -> str | None:
    """Hook what `--model` names. Returns the id to pin, or None where routing is to choose."""
    if arguments.model is None:
        for option in ("endpoint", "api_key_file"):
            if getattr(arguments, option):
                raise CommandError(f"--{option.replace('_', '-')} belongs to a model: name it with --model.")
        return None
    provider, name = arguments.model
    if provider is ModelType.CUSTOM and not arguments.endpoint:
        raise CommandError(
            f"custom:{name} can be anywhere: say where its server listens with --endpoint URL."
        )
    if provider is not ModelType.EMBEDDED:
        await client.hook_model(
            provider,
            name,
            endpoint=arguments.endpoint,
            api_key_file=arguments.api_key_file,
            **location_option(provider, "local" if is_here(arguments.endpoint or "") else "cloud"),
        )
    return f"{provider}:{name}"


def location_option(provider: ModelType, location: Location) -> dict[str, Location]:
    """What hooking has to say of where a model runs: the daemon knows it of all providers but custom."""
    return {"location": location} if provider is ModelType.CUSTOM else {}
