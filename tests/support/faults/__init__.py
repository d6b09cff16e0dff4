"""What goes wrong: full disks, bad ports, networks that are cut, servers that fail."""
