"""`oblixd config`: shows, checks and changes the configuration file. No daemon is needed, nor asked.

`oblix config` runs it, and has a running daemon read the file again afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oblixd.admin import discovery
from oblixd.app.paths import Paths
from oblixd.config import editing, view
from oblixd.config.loader import ConfigError, load, parse, read
from oblixd.config.reference import template
from oblixd.config.schema import Config

EDITOR = "vi"
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy")
_FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action")
    show = actions.add_parser("show", help="show every setting, its value and where it comes from")
    show.add_argument("--json", action="store_true")
    actions.add_parser("get", help="print one setting").add_argument("key")
    change = actions.add_parser("set", help="change one setting in the file")
    change.add_argument("key")
    change.add_argument("value")
    actions.add_parser("unset", help="take one setting out of the file").add_argument("key")
    actions.add_parser("edit", help="open the file in $VISUAL or $EDITOR, and check it afterwards")
    check = actions.add_parser("validate", help="check the file, or another one")
    check.add_argument("file", nargs="?")
    actions.add_parser("path", help="print where the file is")
    actions.add_parser("init", help="write a file with every setting as a comment, where there is none")
    actions.add_parser("import-environment", help="take over proxies and certificates from the environment")
    # For `oblix models`: a table comes as JSON on standard input.
    actions.add_parser("discover")
    actions.add_parser("add-model")
    actions.add_parser("remove-model").add_argument("model")


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run one action. Gives the exit code. Raises ConfigError and OSError."""
    path = Paths.find(environ).config
    action = getattr(Actions(path, environ), (arguments.action or "show").replace("-", "_"))
    code: int | None = action(arguments)
    return code or 0


class Actions:
    """The actions, by their names."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ

    def show(self, arguments: argparse.Namespace) -> None:
        """Print every setting."""
        loaded = load(self._path, self._environ)
        rows = list(view.rows(loaded))
        if getattr(arguments, "json", False):
            _say(
                json.dumps(
                    {
                        row.key: {"value": row.value, "source": row.source.value, "live": row.is_live}
                        for row in rows
                    }
                )
            )
            return
        for row in rows:
            _say(f"{row.key} = {json.dumps(row.value, ensure_ascii=False)}  # {row.source.value}")

    def get(self, arguments: argparse.Namespace) -> None:
        """Print one setting."""
        rows = {row.key: row for row in view.rows(load(self._path, self._environ))}
        if arguments.key not in rows:
            editing.setting_of(arguments.key)
        value = rows[arguments.key].value
        _say(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))

    def set(self, arguments: argparse.Namespace) -> None:
        """Change one setting in the file."""
        setting = editing.setting_of(arguments.key)
        value = editing.value_of(setting, arguments.value)
        text = editing.with_setting(editing.current(self._path), setting, value)
        _check_further(parse(text, self._path), setting.section)
        editing.write(self._path, text)
        _say(f"{setting.key} = {json.dumps(view.display_value(setting.key, value), ensure_ascii=False)}")
        if setting.variable in self._environ:
            sys.stderr.write(
                f"oblix: {setting.variable} of this environment goes before the file, where a daemon is "
                "started with it.\n"
            )

    def unset(self, arguments: argparse.Namespace) -> None:
        """Take one setting out of the file."""
        setting = editing.setting_of(arguments.key)
        editing.write(self._path, editing.without_setting(editing.current(self._path), setting))

    def edit(self, arguments: argparse.Namespace) -> int:
        """Open the file in an editor. A text that is wrong is kept, and named."""
        if not self._path.exists():
            self.init(arguments)
        editor = self._environ.get("VISUAL") or self._environ.get("EDITOR") or EDITOR
        try:
            subprocess.run([*shlex.split(editor), str(self._path)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.stderr.write(
                f"oblix: {editor} failed ({error}): set $EDITOR, or edit {self._path} yourself.\n"
            )
            return 1
        parse(read(self._path), self._path)
        return 0

    def validate(self, arguments: argparse.Namespace) -> None:
        """Check a file: the settings, the policies, and the models."""
        from oblixd.app import wiring  # noqa: PLC0415 - it brings the packages of the whole daemon

        path = Path(arguments.file).absolute() if arguments.file else self._path
        loaded = load(path, {} if arguments.file else self._environ)
        wiring.policies(loaded.config)
        wiring.models(loaded.config, list(wiring.embedded_files(loaded.config)), self._environ)
        for notice in loaded.notices:
            _say(notice)
        where = path if path.exists() else f"{path} (not there, which is fine)"
        _say(f"{where}: {len(loaded.sources)} settings, all of them sound.")

    def path(self, _arguments: argparse.Namespace) -> None:
        """Print where the file is."""
        _say(self._path)

    def init(self, _arguments: argparse.Namespace) -> int:
        """Write a template where there is no file."""
        if self._path.exists():
            sys.stderr.write(f"oblix: {self._path} is there already: `oblix config edit` opens it.\n")
            return 1
        editing.write(self._path, template())
        _say(f"{self._path}: every setting stands there as a comment.")
        return 0

    def import_environment(self, _arguments: argparse.Namespace) -> int:
        """Take over what other programs reach the network by."""
        found = network_of(self._environ)
        if not found:
            sys.stderr.write(
                "oblix: this environment names no proxy and no certificates: nothing was changed.\n"
            )
            return 1
        text = editing.current(self._path)
        for key, value in found.items():
            text = editing.with_setting(text, editing.setting_of(key), value)
        editing.write(self._path, text)
        for key, value in found.items():
            _say(f"{key} = {json.dumps(view.display_value(key, value))}")
        return 0

    def discover(self, _arguments: argparse.Namespace) -> None:
        """Print the GGUF files that other programs fetched, as JSON."""
        _say(discovery.as_json(self._environ))

    def add_model(self, _arguments: argparse.Namespace) -> None:
        """Add a `[[models]]` table, which comes as JSON on standard input."""
        table: dict[str, Any] = json.load(sys.stdin)
        editing.write(self._path, editing.with_model(editing.current(self._path), table))
        if note := discovery.missing_template(Path(table.get("file") or "")):
            sys.stderr.write(f"oblixd: {note}\n")

    def remove_model(self, arguments: argparse.Namespace) -> None:
        """Take a model out of the file."""
        provider, _, name = arguments.model.partition(":")
        editing.write(self._path, editing.without_model(editing.current(self._path), provider, name))


def _check_further(config: Config, section: str) -> None:
    """Check what the schema alone can't: policies that are not there, certificates that can't be read."""
    if section == "routing":
        from oblixd.app import wiring  # noqa: PLC0415 - it brings the packages of the whole daemon

        wiring.policies(config)
    if section == "network":
        from oblixd.models.http.outbound import Trust, TrustError  # noqa: PLC0415 - as above

        given = config.network
        files, directories = (tuple(one for one in [path] if one) for path in (given.ca_file, given.ca_dir))
        try:
            Trust(files, directories).context()
        except TrustError as error:
            raise ConfigError("CONFIG_INVALID", f"[network]: {error}.", field="network") from None


def _say(line: object) -> None:
    sys.stdout.write(f"{line}\n")


def network_of(environ: Mapping[str, str]) -> dict[str, Any]:
    """Read the network's settings out of the variables that other programs go by."""
    proxy = next((environ[name] for name in _PROXIES if environ.get(name)), "")
    file = next((environ[name] for name in _FILES if environ.get(name)), "")
    directory = environ.get("SSL_CERT_DIR", "").partition(os.pathsep)[0]
    hosts = (environ.get("NO_PROXY") or environ.get("no_proxy") or "").split(",")
    found: dict[str, Any] = {
        "network.proxy": proxy if "://" in proxy or not proxy else f"http://{proxy}",
        "network.no_proxy": [host.strip() for host in hosts if host.strip()],
        "network.ca_file": file,
        "network.ca_dir": directory,
    }
    return {key: value for key, value in found.items() if value}
