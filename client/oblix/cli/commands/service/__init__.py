"""Commands for the daemon itself, and what it measures."""
