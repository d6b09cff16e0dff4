"""Commands that ask models, and follow the answers."""
