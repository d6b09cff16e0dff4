"""Conversations changed afterwards: messages deleted, edited, left out, answered anew."""
