"""Commands for the models that the daemon knows."""
