"""The daemon: one per user, shared by every program that talks to language models."""

__version__ = "0.1.0"
