"""`oblix search`: short for `oblix sessions search`."""

from oblix.cli.commands.sessions.search import declare as configure

__all__ = ["configure"]
