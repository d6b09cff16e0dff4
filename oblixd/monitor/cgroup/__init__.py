"""The limits of the container, or of the service's own cgroup, that the daemon runs in."""

from oblixd.monitor.cgroup.container import Container, ContainerUse

__all__ = ["Container", "ContainerUse"]
