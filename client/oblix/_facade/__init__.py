"""The parts of `oblix.OblixClient`: the documented calls, over the clients of the same core."""
