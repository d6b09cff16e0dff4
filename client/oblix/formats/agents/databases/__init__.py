"""Programs that keep their conversations in SQLite."""
