"""The one way to a model's server over HTTP, whoever the provider is."""
