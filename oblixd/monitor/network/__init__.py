"""The network, endpoint by endpoint: what real requests showed, and probes where nothing is fresh."""

from oblixd.monitor.network.endpoint_monitor import Seen
from oblixd.monitor.network.network import Network
from oblixd.monitor.network.probe import Target

__all__ = ["Network", "Seen", "Target"]
