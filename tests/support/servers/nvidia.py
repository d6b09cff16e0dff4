"""A libnvidia-ml of our own: functions in C's way of calling, as NVML's reference guide has them."""

from __future__ import annotations

from ctypes import CFUNCTYPE, POINTER, Structure, c_char, c_int, c_uint, c_ulonglong, c_void_p, cast

GIB = 1 << 30


class Utilization(Structure):
    _fields_ = (("gpu", c_uint), ("memory", c_uint))


class Memory(Structure):
    _fields_ = (("total", c_ulonglong), ("free", c_ulonglong), ("used", c_ulonglong))


class Sample(Structure):
    _fields_ = (
        ("pid", c_uint),
        ("at", c_ulonglong),
        *((name, c_uint) for name in ("sm", "mem", "enc", "dec")),
    )


class Process(Structure):
    _fields_ = (("pid", c_uint), ("memory", c_ulonglong), ("gpu", c_uint), ("compute", c_uint))


class Nvidia:
    """One processor. `samples` is its use by process id in percent; None: that is not supported."""

    def __init__(self, samples: dict[int, int] | None, running: tuple[int, ...] = ()) -> None:
        self.samples, self.running = samples, running
        self.code = 0
        """What every call gives back: 0 is success."""
        self.opened = self.closed = 0
        one, count, samples_, processes = c_void_p, POINTER(c_uint), POINTER(Sample), POINTER(Process)
        given = {
            "nvmlInit_v2": (self._init,),
            "nvmlShutdown": (self._shutdown,),
            "nvmlDeviceGetCount_v2": (self._count, count),
            "nvmlDeviceGetHandleByIndex_v2": (self._device, c_uint, POINTER(c_void_p)),
            "nvmlDeviceGetName": (self._name, one, POINTER(c_char), c_uint),
            "nvmlDeviceGetUtilizationRates": (self._use, one, POINTER(Utilization)),
            "nvmlDeviceGetMemoryInfo": (self._memory, one, POINTER(Memory)),
            "nvmlDeviceGetTemperature": (self._heat, one, c_uint, count),
            "nvmlDeviceGetProcessUtilization": (self._uses, one, samples_, count, c_ulonglong),
            "nvmlDeviceGetComputeRunningProcesses_v3": (self._processes, one, count, processes),
        }
        self._kept = {name: CFUNCTYPE(c_int, *types)(body) for name, (body, *types) in given.items()}
        # As a loaded library's functions, these know nothing of their arguments' types.
        untyped = CFUNCTYPE(c_int)
        vars(self).update({name: untyped(cast(one, c_void_p).value) for name, one in self._kept.items()})

    def _init(self) -> int:
        self.opened += 1
        return self.code

    def _shutdown(self) -> int:
        self.closed += 1
        return 0

    def _count(self, count) -> int:
        count[0] = 1
        return self.code

    def _device(self, index, device) -> int:
        device[0] = 7 + index
        return self.code

    def _name(self, device, name, length) -> int:
        told = b"NVIDIA GeForce RTX 4090\0"
        assert length >= len(told)
        for place, byte in enumerate(told):
            name[place] = byte
        return self.code

    def _use(self, device, use) -> int:
        assert device == 7
        use[0].gpu, use[0].memory = 80, 30
        return self.code

    def _memory(self, device, memory) -> int:
        memory[0].total, memory[0].used, memory[0].free = 24 * GIB, 6 * GIB, 18 * GIB
        return self.code

    def _heat(self, device, sensor, celsius) -> int:
        celsius[0] = 65
        return 3 if self.code == 0 and self.samples is None else self.code

    def _uses(self, device, found, count, since) -> int:
        if self.samples is None:
            return 3
        if not found:
            count[0] = len(self.samples)
            return 7 if self.samples else 0
        for place, (pid, percent) in enumerate(self.samples.items()):
            found[place].pid, found[place].at, found[place].sm = pid, 1_000_000 + place, percent
        return 0

    def _processes(self, device, count, found) -> int:
        if not found:
            count[0] = len(self.running)
            return 7 if self.running else 0
        for place, pid in enumerate(self.running):
            found[place].pid = pid
        count[0] = len(self.running)
        return 0
