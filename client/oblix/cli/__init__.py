"""The command `oblix`. One file a command group; nothing heavy is imported before a command runs."""

from oblix.cli.app import main

__all__ = ["main"]
