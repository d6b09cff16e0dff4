"""Tools that write a log, or a folder, for each conversation."""
