"""`oblix completion`: what a shell runs so that Tab completes, and the manual page."""

from __future__ import annotations

import argparse

from oblix.cli.manual import manual_page

SHELLS = ("bash", "zsh", "fish")
EXAMPLES = """examples:
  echo 'eval "$(oblix completion bash)"' >> ~/.bashrc
  echo 'eval "$(oblix completion zsh)"' >> ~/.zshrc
  oblix completion fish > ~/.config/fish/completions/oblix.fish
  oblix completion man > ~/.local/share/man/man1/oblix.1

Tab completes commands, options, files, and the names of sessions, models, templates and libraries. It asks a
daemon that runs, and starts none."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("shell", choices=[*SHELLS, "man"], help="the shell, or man for the manual page")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the shell's code, or the page."""
    if arguments.shell == "man":
        print(manual_page())
        return
    from argcomplete.shell_integration import shellcode

    print(shellcode(["oblix", "obx"], shell=arguments.shell))
