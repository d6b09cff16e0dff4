"""The error that a command raises itself."""


class CommandError(Exception):
    """A command can't do what it was asked. The message says why and what to do next, in one line."""
