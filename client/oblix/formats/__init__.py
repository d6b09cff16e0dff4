"""File formats for sessions: one module a format, each of them pure functions."""
