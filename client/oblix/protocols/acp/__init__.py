"""An agent of the Agent Client Protocol, for editors. Needs the extra `oblix[acp]`."""
