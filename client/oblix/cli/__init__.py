"""The command `oblix`. Nothing is imported before it is known what is asked: the start is measured."""

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["main"]


def main() -> "NoReturn":
    """Run the command that the arguments name, and end the process with its exit code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"oblix {version()}", flush=True)
        os._exit(0)
    if "_ARGCOMPLETE" in os.environ:
        from oblix.cli.completing import complete

        complete()
    # Modules are loaded, and stay: looking for garbage among them takes a tenth of a short command.
    gc.disable()
    from oblix.cli.app import main as run

    run()


def version() -> str:
    """Return the installed version: out of the name of the package's metadata, which takes no import."""
    for directory in reversed(sys.path):
        try:
            names = os.listdir(directory)  # noqa: PTH208 - pathlib takes a third of the whole start
        except OSError:
            continue
        for name in names:
            if name.startswith("oblix-") and name.endswith(".dist-info"):
                return name.removeprefix("oblix-").removesuffix(".dist-info")
    from importlib import metadata

    return metadata.version("oblix")
