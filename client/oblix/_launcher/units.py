"""What service managers are given: a unit for systemd's user manager, a property list for launchd."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

UNIT = "oblixd.service"
LABEL = "oblix.oblixd"
"""The daemon's name for launchd."""
KEPT = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
"""Variables of the shell that the manager may not have: with others the daemon would use other
directories."""
RELOADS_BY_NOTICE = 253
"""The systemd from which Type=notify-reload is there."""

_SYSTEMD = """\
# Written by `oblix service install`, which writes it anew. Your own changes: `systemctl --user edit oblixd`.
[Unit]
Description=Oblix, the daemon that this user's programs share to talk to language models
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
{type}
ExecStart={command}
{environment}WatchdogSec=30
TimeoutStartSec=300
TimeoutAbortSec=10
Restart=on-failure
RestartSec=1
# Another daemon runs; the configuration is wrong: starting again changes neither.
RestartPreventExitStatus=75 78
KillMode=mixed
UMask=0077
LimitNOFILE=65536
LimitCORE=0
# Memory that runs out ends the embedded model's worker, which is started again, and not the daemon.
OOMPolicy=continue
{memory}
# Without PrivateUsers= a user's service is not sandboxed at all: the lines after it would say nothing.
PrivateUsers=yes
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths=-%h
{writable}NoNewPrivileges=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=default.target
"""

_LAUNCHD = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key><string>{label}</string>
  <key>ProgramArguments</key>
  <array>
{words}
  </array>
  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>
  <key>ThrottleInterval</key><integer>5</integer>
  <key>ExitTimeOut</key><integer>60</integer>
  <key>Umask</key><integer>63</integer>
  <key>ProcessType</key><string>Interactive</string>
  <key>StandardOutPath</key><string>{log}</string>
  <key>StandardErrorPath</key><string>{log}</string>
</dict>
</plist>
"""


def systemd_unit(version: int, environ: Mapping[str, str], memory_max: str = "80%") -> str:
    """Return the unit for a systemd of this version. `memory_max`: as MemoryMax= takes it; empty: none."""
    reload = "Type=notify\nExecReload=/bin/kill -HUP $MAINPID"
    given = {name: environ[name] for name in KEPT if environ.get(name, "").startswith("/")}
    return _SYSTEMD.format(
        type="Type=notify-reload" if version >= RELOADS_BY_NOTICE else reload,
        command=" ".join(_quote(word) for word in command()),
        environment="".join(f"Environment={_quote(f'{name}={value}')}\n" for name, value in given.items()),
        memory=f"MemoryMax={memory_max}" if memory_max else "",
        writable="".join(f"ReadWritePaths=-{_quote(value)}\n" for value in given.values()),
    )


def launchd_list(log: Path) -> str:
    """Return the property list."""
    from xml.sax.saxutils import escape  # noqa: PLC0415 - it loads an HTTP client

    words = "\n".join(f"    <string>{escape(word)}</string>" for word in command())
    return _LAUNCHD.format(label=LABEL, words=words, log=escape(str(log)))


def command() -> list[str]:
    """Return how the daemon of this installation is started."""
    return [sys.executable, "-P", "-m", "oblixd"]


def hidden_path() -> Path | None:
    """Return what of this installation a service would not see: it has a /tmp and a /var/tmp of its own."""
    hiding = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - nothing is written there
    # The Python of a virtual environment is a link to another one.
    installation = (Path(sys.executable), Path(sys.executable).resolve(), Path(__file__).resolve())
    return next((path for path in installation if {*path.parents} & {*hiding}), None)


def unit_file(environ: Mapping[str, str]) -> Path:
    """Return where the user's own unit stands."""
    base = environ.get("XDG_CONFIG_HOME", "")
    config = Path(base) if base.startswith("/") else Path.home() / ".config"
    return config / "systemd" / "user" / UNIT


def systemd_version() -> int:
    """Return the version of systemd. 0: it is not here."""
    try:
        done = subprocess.run(["systemctl", "--version"], check=False, capture_output=True, text=True)
    except OSError:
        return 0
    found = re.match(r"systemd (\d+)", done.stdout)
    return int(found[1]) if found else 0


def is_installed(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the user has our unit."""
    return unit_file(environ).is_file()


def _quote(word: str) -> str:
    """Write a word as systemd reads it back: % and $ stand for themselves."""
    safe = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{safe}"' if re.search(r"[\s'\"\\]", word) else safe
