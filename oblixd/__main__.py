"""The command `oblixd`.

Exit codes: 0 it was told to end and has drained, or the work is done; 1 it can't start,
or the store or the backup is damaged; 2 usage; 75 another daemon of this user runs; 78
the configuration is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import logging
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from oblixd import __version__
from oblixd.app.paths import Paths
from oblixd.app.single_instance import AlreadyRunningError, Lock
from oblixd.errors import OblixdError, from_exception

MOST_FILES = 65_536
"""Files and connections that the daemon may have open, where the system allows so many."""
EXIT_FAILED = 1
EXIT_ALREADY_RUNNING = 75
EXIT_CONFIG = 78


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to end."""
    arguments = _parser().parse_args(argv)
    os.umask(0o077)
    try:
        return _run(arguments)
    except AlreadyRunningError as error:
        return _refuse(f"already running: {error}", EXIT_ALREADY_RUNNING)
    except OblixdError as error:
        return _refuse(error.message, EXIT_CONFIG if _is_config_error(error) else EXIT_FAILED)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return _refuse(from_exception(error).message, EXIT_FAILED)
        return _refuse(f"{error}. Look at that file, its directory and the disk.", EXIT_FAILED)


def _is_config_error(error: OblixdError) -> bool:
    from oblixd.config.loader import ConfigError  # noqa: PLC0415 - see `_serve`

    return isinstance(error, ConfigError)


def _run(arguments: argparse.Namespace) -> int:
    paths = Paths.find(os.environ)
    if arguments.command is None:
        return _serve(paths, arguments.listen)
    if arguments.command == "config":
        from oblixd.admin import configuration  # noqa: PLC0415 - a start of the daemon does not pay for it

        return configuration.run(arguments, os.environ)
    from oblixd.admin import maintenance  # noqa: PLC0415 - as said above

    if arguments.command == "restore":
        return maintenance.restore(paths, Path(arguments.file), force=arguments.force)
    if arguments.command == "engine":
        from oblixd.admin import engine  # noqa: PLC0415 - as said above

        return engine.fetch(paths)
    commands = {"check": maintenance.check, "salvage": maintenance.salvage, "compact": maintenance.compact}
    return commands[arguments.command](paths)


def _serve(paths: Paths, listen: Sequence[str]) -> int:
    # It is for clients: neither this process nor its children need it.
    os.environ.pop("OBLIX_TOKEN", None)
    # What is imported stays. To look through it for garbage takes time from the start, the end, and now
    # and then from an answer.
    gc.disable()
    from oblixd.config.loader import load  # noqa: PLC0415 - as said above

    loaded = load(paths.config, os.environ)
    config = loaded.config
    paths.prepare()
    with Lock(paths.lock).hold(f"pid {os.getpid()}, version {__version__}, socket {paths.socket}"):
        # Only who holds the lock pays for these: ten clients may start ten of us at once.
        from oblixd.app import logging_setup, wiring  # noqa: PLC0415 - as said above
        from oblixd.app.daemon import Daemon  # noqa: PLC0415 - as said above
        from oblixd.client_memory import give_large_blocks_back  # noqa: PLC0415 - as said above
        from oblixd.models.http import outbound  # noqa: PLC0415 - as said above

        # Before anything reads them: they would send everybody's prompts through somebody's proxy.
        ignored = outbound.clean(os.environ)
        paths.use_engine()

        _leave_no_core()
        _allow_files()
        give_large_blocks_back()
        logging_setup.set_up(config.daemon.log_level, paths.log)
        for notice in loaded.notices:
            logging.getLogger(__name__).warning("%s", notice)
        gc.freeze()
        gc.enable()
        asyncio.run(Daemon(loaded, paths, ignored, wiring.listen(config, listen)).run())
    return 0


def _allow_files() -> None:
    """Open more files than the system's default, which is for programs that use select(2)."""
    given, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if most == resource.RLIM_INFINITY else min(MOST_FILES, most)
    if given != resource.RLIM_INFINITY and given < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _leave_no_core() -> None:
    """Write no core file where the daemon crashes, nor where its worker does: keys would be in it.

    `PR_SET_DUMPABLE` would do more, and would take /proc and debuggers from the user, too.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oblixd",
        description="The Oblix daemon: one per user. Clients start it by themselves; SIGTERM drains it.",
        epilog="Settings: $XDG_CONFIG_HOME/oblix/config.toml and OBLIX_* in the environment; "
        "OBLIX_HOME puts everything under one directory.",
    )
    parser.add_argument("--version", action="version", version=f"oblixd {__version__}")
    parser.add_argument(
        "--listen",
        action="append",
        default=[],
        metavar="tcp://HOST:PORT",
        help="listen on this loopback address, too, for clients with a token; may be given more than once",
    )
    commands = parser.add_subparsers(
        title="commands, while no daemon runs", metavar="COMMAND", dest="command"
    )
    commands.add_parser("check", help="read all conversations, and list damaged records")
    commands.add_parser("salvage", help="make a new store from the intact records of a damaged one")
    commands.add_parser("compact", help="rewrite the store without free pages")
    commands.add_parser("engine", help="fetch the embedded model's engine and weights, also while one runs")
    _add_config(commands.add_parser("config", help="show, check and change the configuration file"))
    restore = commands.add_parser("restore", help="replace the conversations with those of a backup")
    restore.add_argument("file", metavar="FILE", help="a file that `oblix backup` wrote")
    restore.add_argument("--force", action="store_true", help="restore a backup with damaged records, too")
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    if sys.argv[1:2] == ["config"]:
        # Its arguments bring the schema, which no other command pays for.
        from oblixd.admin import configuration  # noqa: PLC0415 - as said above

        configuration.configure(parser)


def _refuse(why: str, code: int) -> int:
    sys.stderr.write(f"oblixd: {why}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
