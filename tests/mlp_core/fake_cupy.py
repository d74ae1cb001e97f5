"""A module to stand where cupy would be: the strict stand-in with a driver, devices, and failures as cupy has them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from fake_cuda import runtime as streams
from strict_xp import StrictDevice


class CUDARuntimeError(RuntimeError):
    """As cupy raises for the driver and the devices."""


class OutOfMemoryError(MemoryError):
    """As cupy raises when a device is full."""


class DynamicLibNotFoundError(RuntimeError):
    """As cuda-pathfinder raises for a library that it cannot find."""


class _Device:
    def __init__(self, index: int) -> None:
        self.index = index

    def __enter__(self) -> _Device:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def use(self) -> None:
        pass


class Driver:
    """What libcuda would be."""

    def __init__(self, version: int = 12080, fails: bool = False) -> None:
        self.version, self.fails = version, fails

    def cuDriverGetVersion(self, place: Any) -> int:
        place._obj.value = self.version
        return int(self.fails)


def fake_cupy(device: StrictDevice, count: int = 1, **fails: Exception) -> ModuleType:
    """A cupy with `count` devices, all of them `device`; `fails` names functions that raise what is given."""
    runtime = {
        "getDeviceCount": lambda: count,
        "getDeviceProperties": lambda index: {"name": b"NVIDIA Stand-in"},
        "memGetInfo": lambda: (3 << 30, 4 << 30),
        "runtimeGetVersion": lambda: 12090,
        "streamCaptureModeThreadLocal": 1,
    }
    cupy = ModuleType("cupy")
    cupy.__dict__.update({name: value for name, value in vars(device.xp).items() if not name.startswith("__")})
    cupy.__dict__["__version__"] = "14.2.0"
    for name, error in fails.items():
        (runtime if name in runtime else cupy.__dict__)[name] = _raising(error)
    cupy.__dict__["cuda"] = SimpleNamespace(runtime=SimpleNamespace(**runtime), Device=_Device, **streams(device))
    return cupy


def _raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail
