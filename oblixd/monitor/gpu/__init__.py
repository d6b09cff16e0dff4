"""Graphics processors: NVIDIA's by their driver's library, AMD's and Intel's by sysfs."""

from oblixd.monitor.gpu.gpus import Gpus

__all__ = ["Gpus"]
