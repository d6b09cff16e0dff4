"""What was used and what it cost: counted by day, model, program and session, kept for 400 days.

`Usage` is what other packages use. How it lies on disk: `tables.py`. Prices and caps are the
configuration's; what has no price there costs what nobody knows, and is counted as that.
"""

from oblixd.usage.budgets import BudgetState, Caps
from oblixd.usage.entries import Group, Report, Row, UsageEntry
from oblixd.usage.prices import Price, Prices
from oblixd.usage.service import Usage
from oblixd.usage.tables import TABLE_NAMES

__all__ = [
    "TABLE_NAMES",
    "BudgetState",
    "Caps",
    "Group",
    "Price",
    "Prices",
    "Report",
    "Row",
    "Usage",
    "UsageEntry",
]
