"""Model servers and devices that tests talk to."""
