"""cuBLAS and the CUDA runtime on the CPU: column-major products from bare addresses, streams, graphs, events.

Everything is stricter than the real thing: whatever is given in the wrong order, or reaches beyond an array, fails.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from cuda_shim import RawModule
from strict_xp import StrictDevice

from mlp_core.backends.cuda.backend import fused_backend
from mlp_core.nn.backend import Backend

NUMPY = {0: np.dtype(np.float32), 1: np.dtype(np.float64), 14: np.dtype(np.uint16)}
KNOWN = {(0, 0, 68), (0, 0, 77), (1, 1, 70), (14, 0, 68)}  # operands, result, compute type


def at(address: int, shape: tuple[int, int], distance: int, dtype: np.dtype) -> np.ndarray:
    """The column-major matrix at an address whose columns begin `distance` entries apart."""
    size = dtype.itemsize * (distance * (shape[1] - 1) + shape[0])
    memory = (ctypes.c_char * size).from_address(address)
    return np.ndarray(shape, dtype, memory, 0, (dtype.itemsize, dtype.itemsize * distance))


def widened(bits: np.ndarray) -> np.ndarray:
    """bfloat16 as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def tf32(array: np.ndarray) -> np.ndarray:
    """float32 with 10 bits after the point, to the nearest."""
    bits = np.ascontiguousarray(array).view(np.uint32)
    return ((bits + np.uint32(0x0FFF) + ((bits >> 13) & 1).astype(np.uint32)) & np.uint32(0xFFFFE000)).view(np.float32)


class Function:
    """One function of the library: ctypes' face, with the arguments as the library would get them."""

    def __init__(self, call: Callable[..., int]) -> None:
        self._call, self.argtypes = call, None

    def __call__(self, *arguments: Any) -> int:
        assert self.argtypes is not None, "ctypes would cut pointers to 32 bits"
        assert len(arguments) == len(self.argtypes)
        passed = []
        for kind, argument in zip(self.argtypes, arguments, strict=True):
            if kind is ctypes.c_void_p and isinstance(argument, int):
                passed.append(argument)
            elif kind is ctypes.c_void_p:
                passed.append(argument.value if isinstance(argument, ctypes.c_void_p) else argument._obj.value)
            elif kind in (ctypes.c_int, ctypes.c_size_t):
                assert type(argument) is int
                passed.append(argument)
            else:
                passed.append(argument)
        return self._call(*passed)


class FakeCublas:
    """The five functions that are used. `calls` counts products."""

    def __init__(self, device: StrictDevice) -> None:
        self.device, self.calls = device, 0
        self.state: list[str] = []
        for name in ("Create_v2", "Destroy_v2", "SetStream_v2", "SetWorkspace_v2", "GemmEx"):
            setattr(self, f"cublas{name}", Function(getattr(self, f"_{name.lower()}")))

    def _create_v2(self, handle: Any) -> int:
        handle._obj.value = 4711
        self.state = ["created"]
        return 0

    def _destroy_v2(self, handle: int) -> int:
        return 0

    def _setstream_v2(self, handle: int, stream: int) -> int:
        assert stream not in (0, 1, 2), "the default stream cannot be captured"
        self.state = ["created", "stream"]  # the workspace is the library's own again
        return 0

    def _setworkspace_v2(self, handle: int, workspace: int, size: int) -> int:
        assert workspace % 256 in range(0, 256, 16)
        assert self.device.holds(workspace, size)
        self.state.append("workspace")
        return 0

    def _gemmex(self, handle, ta, tb, m, n, k, alpha, a, at_, lda, b, bt, ldb, beta, c, ct, ldc, compute, algorithm):
        assert self.state == ["created", "stream", "workspace"]
        assert (handle, alpha, beta, algorithm) == (4711, 1.0, 0.0, -1)
        assert at_ == bt
        assert (at_, ct, compute) in KNOWN
        shapes = {"a": (k, m) if ta else (m, k), "b": (n, k) if tb else (k, n), "c": (m, n)}
        places = {"a": (a, lda, NUMPY[at_]), "b": (b, ldb, NUMPY[bt]), "c": (c, ldc, NUMPY[ct])}
        for name, (rows, columns) in shapes.items():
            address, distance, dtype = places[name]
            if distance < max(1, rows) or min(rows, columns) < 0:
                return 7
            if rows and columns:
                assert self.device.holds(address, dtype.itemsize * (distance * (columns - 1) + rows)), name
        self.calls += 1

        def multiply() -> None:
            A, B, C = (at(places[name][0], shapes[name], *places[name][1:]) for name in "abc")
            if at_ == 14:
                A, B = widened(A), widened(B)
            elif compute == 77:
                A, B = tf32(A), tf32(B)
            with np.errstate(all="ignore"):
                C[...] = (A.T if ta else A) @ (B.T if tb else B)

        self.device.give(multiply)
        return 0


class Stream:
    """A stream. What is given to the current one is carried out at once, or captured; copies on any other one as late
    as can be: when somebody waits for them."""

    def __init__(self, device: StrictDevice, null: bool = False, non_blocking: bool = False) -> None:
        self.device, self.ptr, self.non_blocking = device, id(self) | 16, non_blocking
        self.current, self.late = False, []

    def use(self) -> Stream:
        self.current, self.device.stream = True, self
        return self

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def give(self, work: Callable[[], Any]) -> None:
        if self.current:
            self.device.give(work)
        else:
            self.late.append(work)

    def synchronize(self) -> None:
        self.device.counts.syncs += 1
        self._work()

    def record(self, event: Any = None) -> Any:
        event = Event() if event is None else event
        event.stream = self
        self.late.append(event)
        return event

    def wait_event(self, event: Any) -> None:
        event.come()

    def _work(self) -> None:
        """What was put off."""
        late, self.late = self.late, []
        for one in late:
            if not isinstance(one, Event):
                one()

    def begin_capture(self, mode: int | None = None) -> None:
        assert self.non_blocking
        assert self.device.captured is None
        self.device.captured = []

    def end_capture(self) -> Any:
        captured, self.device.captured = self.device.captured, None
        assert captured is not None

        def launch(stream: Any = None) -> None:
            self.device.counts.launches += 1
            for work in captured:
                work()

        return SimpleNamespace(launch=launch, captured=captured)


class Event:
    """A point in a stream."""

    stream: Stream | None = None

    @property
    def pending(self) -> bool:
        return self.stream is not None and any(one is self for one in self.stream.late)

    def come(self) -> None:
        """All that comes before it is done."""
        if self.stream is not None and self.pending:
            last = max(place for place, one in enumerate(self.stream.late) if one is self)
            for one in [self.stream.late.pop(0) for _ in range(last + 1)]:
                if not isinstance(one, Event):
                    one()

    def synchronize(self) -> None:
        if self.stream is not None and self.pending:
            self.stream.device.counts.syncs += any(not isinstance(one, Event) for one in self.stream.late)
        self.come()


def runtime(device: StrictDevice) -> dict[str, Any]:
    """What `cupy.cuda` has besides devices: streams, events, pinned memory, the runtime's constants."""
    return {
        "Stream": lambda null=False, non_blocking=False: Stream(device, null, non_blocking),
        "Event": lambda block=False, disable_timing=False: Event(),
        "alloc_pinned_memory": device.pin,
        "get_current_stream": lambda: device.stream,
    }


def equip(device: StrictDevice) -> StrictDevice:
    """A device with kernels, cuBLAS and graphs."""
    device.xp.RawModule = RawModule
    device.xp.cuda = SimpleNamespace(runtime=SimpleNamespace(streamCaptureModeThreadLocal=1), **runtime(device))
    return device


def backend(device: StrictDevice, precision: str = "highest") -> Backend:
    """The engine with fused kernels on a device that is equipped."""
    stream = device.xp.cuda.Stream(non_blocking=True).use()
    return fused_backend(device.xp, "cuda:0", FakeCublas(device), stream, precision)
