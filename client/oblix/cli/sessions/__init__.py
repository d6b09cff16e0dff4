"""The subcommands of `oblix sessions`."""
