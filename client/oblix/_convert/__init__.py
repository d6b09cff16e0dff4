"""Python's values to messages of the contract and back. Pure functions."""
