"""The daemon: one per user, shared by every program that talks to language models."""

__all__ = ["__version__"]

__version__ = "0.2.0"
