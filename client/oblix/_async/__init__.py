"""The parts of `oblix.AsyncClient`. `oblix._sync` is written from here by `tools/sync_client`."""
