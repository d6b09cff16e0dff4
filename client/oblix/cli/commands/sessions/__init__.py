"""Commands for conversations: find, read, mend, export and import them."""
