"""One file a provider: how its requests are written and its answers read."""
