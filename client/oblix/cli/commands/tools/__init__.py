"""Commands by which other programs use the daemon."""
