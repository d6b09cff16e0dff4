"""`python -m oblix`."""

from oblix.cli import main

main()
