"""`python -m oblix`."""

import sys

from oblix.cli import main

sys.exit(main())
