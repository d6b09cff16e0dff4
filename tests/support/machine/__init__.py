"""The machine that tries to break a daemon: traffic, faults, the history of what clients asked and were told,
and the model that the store is held against."""
