"""The daemon: one per user, shared by every program that talks to language models."""
