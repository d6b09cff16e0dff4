"""NVIDIA's management library, called as it is.

The driver brings it. `nvidia-ml-py`, NVIDIA's own wrapper, is 330 kB of Python
that binds every function; these nine have kept their form for years, so calling
them by ctypes spares everybody an extra to install. Names, numbers and structs:
NVML API Reference Guide (nvml.h).
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Collection, Sequence
from ctypes import POINTER, Array, byref, c_char, c_uint, c_ulonglong, c_void_p
from typing import Any

from oblixd.monitor.snapshot import Gpu

Library = Any
"""A loaded libnvidia-ml: an attribute for each of its functions."""

_SUCCESS, _INSUFFICIENT_SIZE = 0, 7
_GONE = {1: "not initialized", 9: "driver not loaded", 15: "GPU is lost", 18: "driver and library differ"}
"""After these nothing works until the library is opened anew."""
_CORE_TEMPERATURE = 0
_NAME_BYTES = 96


class NvmlError(Exception):
    """The driver can't be talked to any more."""


class _UnsupportedError(NvmlError):
    """This one number is not to be had from this processor."""


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", c_uint), ("memory", c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", c_ulonglong), ("free", c_ulonglong), ("used", c_ulonglong))


class _ProcessUse(ctypes.Structure):
    _fields_ = (
        ("pid", c_uint),
        ("time_us", c_ulonglong),
        ("cores_percent", c_uint),
        ("memory_percent", c_uint),
        ("encoder_percent", c_uint),
        ("decoder_percent", c_uint),
    )


class _Process(ctypes.Structure):
    _fields_ = (
        ("pid", c_uint),
        ("memory_bytes", c_ulonglong),
        ("gpu_instance", c_uint),
        ("compute_instance", c_uint),
    )


class Nvml:
    """An open library. Raises NvmlError where there is no driver, or one that the library does not fit."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._call("nvmlInit_v2")
        count = c_uint()
        self._call("nvmlDeviceGetCount_v2", byref(count))
        self._devices = [self._device(index) for index in range(count.value)]
        self._names = [self._name(device) for device in self._devices]
        self._seen_us = [0] * count.value

    def sample(self, own_pids: Collection[int]) -> tuple[Gpu, ...]:
        """Sample every processor. Raises NvmlError if one or the driver went away."""
        return tuple(self._sample(index, own_pids) for index in range(len(self._devices)))

    def close(self) -> None:
        """Let go of the driver."""
        with contextlib.suppress(NvmlError, _UnsupportedError):
            self._call("nvmlShutdown")

    def _sample(self, index: int, own_pids: Collection[int]) -> Gpu:
        device = self._devices[index]
        use, memory, celsius = _Utilization(), _Memory(), c_uint()
        has_use = self._has("nvmlDeviceGetUtilizationRates", device, byref(use))
        has_memory = self._has("nvmlDeviceGetMemoryInfo", device, byref(memory))
        has_heat = self._has("nvmlDeviceGetTemperature", device, c_uint(_CORE_TEMPERATURE), byref(celsius))
        utilization = min(1.0, use.gpu / 100.0) if has_use else None
        return Gpu(
            name=self._names[index],
            utilization=utilization,
            memory_total_bytes=memory.total if has_memory else None,
            memory_used_bytes=memory.used if has_memory else None,
            temperature_celsius=float(celsius.value) if has_heat else None,
            own_utilization=self._own_utilization(index, utilization, own_pids),
        )

    def _own_utilization(
        self, index: int, utilization: float | None, own_pids: Collection[int]
    ) -> float | None:
        """Return our share: by process if the driver tells it, else if all or no processes are ours."""
        if utilization is None or not own_pids:
            return None if utilization is None else 0.0
        with contextlib.suppress(_UnsupportedError):
            used: dict[int, int] = {use.pid: use.cores_percent for use in self._uses(index)}
            return min(utilization, sum(used.get(pid, 0) for pid in own_pids) / 100.0)
        with contextlib.suppress(_UnsupportedError):
            pids = {process.pid for process in self._processes(self._devices[index])}
            if pids <= set(own_pids) or pids.isdisjoint(own_pids):
                return 0.0 if pids.isdisjoint(own_pids) else utilization
        return None

    def _uses(self, index: int) -> Sequence[_ProcessUse]:
        """Return what processes used since the last call: oldest first, so the newest of each counts."""
        device, count, since = self._devices[index], c_uint(), c_ulonglong(self._seen_us[index])
        name = "nvmlDeviceGetProcessUtilization"
        code = self._code(name, device, POINTER(_ProcessUse)(), byref(count), since)
        if code not in (_SUCCESS, _INSUFFICIENT_SIZE):
            raise _UnsupportedError(code)
        samples = (_ProcessUse * count.value)()
        if count.value:
            self._call(name, device, samples, byref(count), since)
        told: list[_ProcessUse] = sorted(samples[: count.value], key=lambda use: use.time_us)
        self._seen_us[index] = max((use.time_us for use in told), default=self._seen_us[index])
        return told

    def _processes(self, device: c_void_p) -> Sequence[_Process]:
        name, count = "nvmlDeviceGetComputeRunningProcesses_v3", c_uint()
        if self._code(name, device, byref(count), POINTER(_Process)()) == _SUCCESS:
            return ()
        # Some more may have come in between.
        count.value = count.value * 2 + 5
        found = (_Process * count.value)()
        self._call(name, device, byref(count), found)
        return found[: count.value]

    def _device(self, index: int) -> c_void_p:
        device = c_void_p()
        self._call("nvmlDeviceGetHandleByIndex_v2", c_uint(index), byref(device))
        return device

    def _name(self, device: c_void_p) -> str:
        name: Array[c_char] = ctypes.create_string_buffer(_NAME_BYTES)
        has_name = self._has("nvmlDeviceGetName", device, name, c_uint(_NAME_BYTES))
        return name.value.decode(errors="replace") if has_name else "NVIDIA GPU"

    def _has(self, name: str, *arguments: Any) -> bool:
        with contextlib.suppress(_UnsupportedError):
            self._call(name, *arguments)
            return True
        return False

    def _call(self, name: str, *arguments: Any) -> None:
        code = self._code(name, *arguments)
        if code != _SUCCESS:
            raise _UnsupportedError(code)

    def _code(self, name: str, *arguments: Any) -> int:
        """Return what a function gives back. One that an old driver does not have is not supported."""
        function = getattr(self._library, name, None)
        if function is None:
            raise _UnsupportedError(name)
        code: int = function(*arguments)
        if code in _GONE:
            raise NvmlError(_GONE[code])
        return code
