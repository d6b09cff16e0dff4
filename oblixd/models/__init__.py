"""Connections to models: one file a provider, a registry of hooks, the embedded model's worker."""
