"""The HTTP APIs that clients speak, one module each. None knows another, and none knows the network."""
