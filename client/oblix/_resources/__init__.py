"""What the client offers, one module a kind of thing."""
