"""`oblix connect`: settings and a token by which another tool uses the daemon over HTTP."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from oblix._transport.channel import Transport
from oblix.cli import daemon
from oblix.cli.commands.tools.settings import OTHER_NAMES, TOOLS, ToolSettings
from oblix.cli.errors import CommandError
from oblix.cli.output import tables
from oblix.v1 import endpoint_pb2, sessions_pb2


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = (
        "Tools: " + ", ".join(TOOLS) + ". For any other name, it makes a token and prints general settings."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("tool", nargs="?", metavar="TOOL", help="the tool to connect, for example codex")
    what.add_argument("--list", action="store_true", help="list the tokens")
    what.add_argument("--revoke", metavar="NAME", help="end a token: the tool is refused from now on")
    parser.add_argument("--model", default="auto", help="the model that the tool asks for (default auto)")
    parser.add_argument("--local-only", action="store_true", help="let its prompts reach local models only")
    parser.add_argument(
        "--session", metavar="ID", help="give the tool access to this conversation, to continue it"
    )
    parser.add_argument("--write", action="store_true", help="write the settings into the tool's own file")
    parser.add_argument(
        "--json", action="store_true", help="print URL, token and model, or the list, as JSON"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print or write the settings."""
    transport = daemon.any_daemon()
    if arguments.list:
        _list(transport, as_json=arguments.json)
        return
    if arguments.revoke:
        request = endpoint_pb2.RevokeTokenRequest(name=arguments.revoke)
        transport.call(lambda link: link.endpoint.RevokeToken, request)
        print(f"The token {arguments.revoke} is revoked.")
        return
    name = OTHER_NAMES.get(arguments.tool, arguments.tool)
    url = base_url(transport)
    request_token = endpoint_pb2.CreateTokenRequest(name=name, local_only=arguments.local_only, replace=True)
    token = transport.call(lambda link: link.endpoint.CreateToken, request_token).text
    if arguments.session:
        _give(transport, arguments.session, name)
    values = {"url": url, "token": token, "model": arguments.model}
    settings = TOOLS.get(name)
    if arguments.json:
        if arguments.write and settings:
            with redirect_stdout(sys.stderr):
                _write(settings, values)
        tables.show_json(values)
    elif settings is None:
        print(f"Base URL  {url}/v1 (OpenAI), {url} (Anthropic, Ollama)\nToken     {token}")
        print(f"Model     {arguments.model}")
    elif arguments.write:
        _write(settings, values)
    else:
        _show(settings, values)


def base_url(transport: Transport) -> str:
    """Return the endpoint's base URL: where it listens, or where it would. Says so where it is closed."""
    answer = transport.call(lambda link: link.endpoint.GetEndpoint, endpoint_pb2.GetEndpointRequest())
    if not answer.url:
        closed = "The endpoint is closed: `oblix server` opens it, and [http] enabled = true keeps it open."
        print(closed, file=sys.stderr)
    return answer.url or answer.configured_url


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put the endpoint's values into a template."""
    return template.format(**values)


def _give(transport: Transport, session_id: str, token: str) -> None:
    """Let a token go on with a session: it then names it in the header x-oblix-session."""
    wanted = sessions_pb2.GetSessionRequest(session_id=session_id)
    session = transport.call(lambda link: link.sessions.GetSession, wanted).session
    http = session.metadata.get_or_create_struct("http")
    given = http.get_or_create_list("tokens")
    if token not in list(given):
        given.append(token)
    request = sessions_pb2.UpdateSessionRequest(
        session=session, update_mask=FieldMask(paths=["metadata.http"])
    )
    transport.call(lambda link: link.sessions.UpdateSession, request)
    print(f"The token {token} may go on with {session_id}: send the header x-oblix-session: {session_id}")


def _list(transport: Transport, *, as_json: bool) -> None:
    answer = transport.call(lambda link: link.endpoint.ListTokens, endpoint_pb2.ListTokensRequest())
    rows = [
        {
            "name": token.name,
            "reach": "local models only" if token.local_only else "all models",
            "created": tables.local_time(token.create_time.ToJsonString()),
        }
        for token in answer.tokens
    ]
    if as_json:
        tables.show_json(rows)
    else:
        tables.show_rows(rows, {"name": "TOKEN", "reach": "REACHES", "created": "CREATED"})


def _show(settings: ToolSettings, values: Mapping[str, str]) -> None:
    for name, template in settings.environment.items():
        if "\n" not in template:
            print(f"export {name}={fill(template, values)}")
    if settings.file:
        print(f"\n# ~/{settings.file}")
    if settings.text:
        print(fill(settings.text, values).rstrip())
    if settings.note:
        print(f"\n{fill(settings.note, values)}")


def _write(settings: ToolSettings, values: Mapping[str, str]) -> None:
    if not settings.file:
        raise CommandError(f"{settings.title} has no file of its own for this: run it without --write.")
    path = Path.home() / settings.file
    path.parent.mkdir(parents=True, exist_ok=True)
    text = fill(settings.text, values)
    if path.exists():
        text = _merge_text(path, text)
    fresh = path.with_name(f"{path.name}.oblix")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)
    print(f"Written to {path}.")
    for name, template in settings.environment.items():
        if "\n" not in template:
            print(f"export {name}={fill(template, values)}")
    if settings.note:
        print(fill(settings.note, values))


def _merge_text(path: Path, text: str) -> str:
    """Add our part to what a person has in the file. Raises CommandError where that is not safe."""
    present = path.read_text("utf-8")
    if path.suffix == ".json":
        try:
            return json.dumps(_merge(json.loads(present), json.loads(text)), indent=2) + "\n"
        except (ValueError, AttributeError) as error:
            raise CommandError(f"{path} is no plain JSON: add the settings by hand.") from error
    if path.suffix == ".toml":
        return _merge_toml(path, present, text)
    if "oblix" in present:
        raise CommandError(f"{path} has settings for oblix already: change them there.")
    return f"{present.rstrip()}\n\n{text}"


def _merge_toml(path: Path, present: str, text: str) -> str:
    """Add tables, replace values, and keep what else there is, comments too."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(present)
    except TOMLKitError as error:
        raise CommandError(f"{path} is no TOML that can be read: {error}") from error
    _merge_table(document, tomlkit.parse(text))
    return tomlkit.dumps(document)


def _merge_table(present: Any, ours: Mapping[str, Any]) -> None:
    """Merge tables by their keys, and lists of tables by their names."""
    for key, value in ours.items():
        known = present.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            _merge_table(known, value)
        elif isinstance(known, list) and isinstance(value, list):
            for table in value:
                same = next((one for one in known if one.get("name") == table["name"]), None)
                known.append(table) if same is None else same.update(table)
        else:
            present[key] = value


def _merge(present: dict[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(present)
    for key, value in ours.items():
        known = result.get(key)
        result[key] = _merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result
