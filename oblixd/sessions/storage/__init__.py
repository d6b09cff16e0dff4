"""How sessions, messages and their indexes lie in the store."""
