"""Exports of chat programs and data sets: one JSON value is one conversation."""
