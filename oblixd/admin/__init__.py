"""Offline commands of `oblixd`: they work on a store that no daemon has open."""
