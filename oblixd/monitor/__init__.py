"""What this machine and its network are up to, sampled in the background so that no prompt waits for it."""

from oblixd.monitor.monitor import Monitor
from oblixd.monitor.snapshot import Connectivity, Gpu, Resources, Snapshot

__all__ = ["Connectivity", "Gpu", "Monitor", "Resources", "Snapshot"]
