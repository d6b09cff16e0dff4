"""The daemon's limits that a client checks before it sends anything. A test compares both."""

from __future__ import annotations

MAX_TOKENS = 1_000_000
"""Tokens that an answer may be allowed."""
MAX_TIMEOUT_S = 24 * 60 * 60
MAX_TEMPERATURE = 2
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
MAX_PARTS = 256
"""Parts of one message."""
MAX_ID_CHARACTERS = 128
MAX_TITLE_CHARACTERS = 1024
MAX_DAYS = 36_500
"""Days of a retention rule."""
LARGEST_PAGE = 1000
"""Sessions, or messages, of one page."""
LARGEST_SEARCH_PAGE = 200
"""Hits of one page."""
MAX_LEVELS = 16
"""Objects and lists within each other, in metadata and in a context; so with the next three."""
MAX_KEYS = 256
MAX_JSON_BYTES = 64 * 1024
MAX_INTEGER = 2**53
