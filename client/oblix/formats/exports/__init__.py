"""Formats that are written: for people, for training, and for other programs to go on with."""
