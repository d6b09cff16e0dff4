"""Finding and starting the user's daemon."""
