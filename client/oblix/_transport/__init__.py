"""Calls to the daemon: channels, streams that survive a lost connection, errors."""
