# Written by tools/sync_client.py from client/oblix/_async/__init__.py: change that file.
"""The parts of `oblix.Client`. `oblix._sync` is written from here by `tools/sync_client`."""
