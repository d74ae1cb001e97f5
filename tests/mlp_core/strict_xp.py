"""A stand-in for cupy on numpy, stricter than cupy: it refuses host arrays, and counts what would make a GPU wait.

Every array wraps a numpy array and can do only what cupy's can, under cupy's signatures (`take` has no mode, `einsum`
no out). A host array as an operand is refused, and so is every way in which numpy would take such an array for its own.
"""

from __future__ import annotations

import ctypes
import inspect
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

SCALARS = (bool, int, float, complex, np.generic, type(None))
UFUNCS = (
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "copysign", "greater_equal", "greater", "less"),
    *("exp", "expm1", "log", "log1p", "sqrt", "square", "abs", "sign", "tanh", "cosh", "sin", "cos", "rint"),
    "isfinite",
)
BINARY = (
    *("add", "sub", "mul", "truediv", "pow", "mod", "matmul", "floordiv"),
    *("and", "or", "xor", "lt", "le", "gt", "ge", "eq", "ne"),
)
REFLECTED = ("add", "sub", "mul", "truediv", "pow", "and", "or")
IN_PLACE = ("add", "sub", "mul", "truediv", "pow", "and", "or")


@dataclass
class Counts:
    """Times the host waited for the device, transfers in each direction, and launches of graphs."""

    syncs: int = 0
    uploads: int = 0
    downloads: int = 0
    launches: int = 0


@dataclass
class StrictMemory:
    """Where an array lies; its address can be read by whoever must have it, and bytes be sent there."""

    device: StrictDevice
    array: np.ndarray

    @property
    def ptr(self) -> int:
        return self.array.ctypes.data

    def copy_from_host_async(self, address: int, size: int, stream: Any = None) -> None:
        assert self.array.flags.c_contiguous
        assert self.array.nbytes == size
        self.device.counts.uploads += 1
        self.device.fetch(address, size, self.ptr, stream)


class StrictArray:
    """An array on the device."""

    __slots__ = ("_array", "_device")
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, device: StrictDevice, array: Any) -> None:
        self._device, self._array = device, np.asarray(array)
        device.remember(self._array)

    shape = property(lambda self: self._array.shape)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    dtype = property(lambda self: self._array.dtype)
    nbytes = property(lambda self: self._array.nbytes)
    flags = property(lambda self: self._array.flags)
    strides = property(lambda self: self._array.strides)
    data = property(lambda self: StrictMemory(self._device, self._array))
    T = property(lambda self: self._device.wrap(self._array.T))
    real = property(lambda self: self._device.wrap(self._array.real))
    imag = property(lambda self: self._device.wrap(self._array.imag))

    def __len__(self) -> int:
        return len(self._array)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("an array on the device was taken for a host array")

    __array__ = __array_function__ = __iter__ = _refuse
    __array_interface__ = __array_struct__ = property(_refuse)

    def __getitem__(self, key: Any) -> StrictArray:
        return self._device.wrap(self._array[self._device.key(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._array[self._device.key(key)] = self._device.operand(value)

    def _scalar(self, kind: type) -> Any:
        self._device.counts.syncs += 1
        return kind(self._array)

    def __bool__(self) -> bool:
        return bool(self._scalar(bool))

    def __int__(self) -> int:
        return int(self._scalar(int))

    def __float__(self) -> float:
        return float(self._scalar(float))

    def __complex__(self) -> complex:
        return complex(self._scalar(complex))

    def __repr__(self) -> str:
        return f"StrictArray(shape={self.shape}, dtype={self.dtype})"

    def get(self, out: np.ndarray | None = None) -> np.ndarray:
        self._device.counts.syncs += 1
        self._device.counts.downloads += 1
        if out is None:
            return self._array.copy()
        assert self._device.pinned(out.ctypes.data, out.nbytes), "this memory is not pinned"
        assert (out.shape, out.dtype) == (self.shape, self.dtype)
        assert out.flags.c_contiguous
        assert self.flags.c_contiguous
        out[...] = self._array
        return out

    def item(self) -> Any:
        return self._scalar(lambda array: array.item())

    def take(self, indices: Any, axis: Any = None, out: Any = None) -> StrictArray:
        rows, target = self._device.operand(indices), self._device.operand(out)
        assert target is None or target.dtype == self.dtype
        result = self._array.take(rows, axis, target, "wrap")
        return self._device.wrap(result) if out is None else out

    def reshape(self, *shape: Any) -> StrictArray:
        return self._device.wrap(self._array.reshape(*shape))

    def transpose(self, *axes: int) -> StrictArray:
        return self._device.wrap(self._array.transpose(*axes))

    def ravel(self) -> StrictArray:
        return self._device.wrap(self._array.ravel())

    def copy(self) -> StrictArray:
        return self._device.wrap(self._array.copy())

    def astype(self, dtype: Any, copy: bool = True) -> StrictArray:
        return self._device.wrap(self._array.astype(dtype, copy=copy))

    def fill(self, value: Any) -> None:
        self._array.fill(self._device.operand(value))


def _reduction(name: str) -> Callable[..., Any]:
    def method(self: StrictArray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        more = {} if dtype is None else {"dtype": dtype}
        target = self._device.operand(out)
        result = getattr(self._array, name)(axis=axis, out=target, keepdims=keepdims, **more)
        return self._device.wrap(result) if out is None else out

    return method


def _operator(name: str, in_place: bool = False) -> Callable[..., Any]:
    def method(self: StrictArray, *others: Any) -> Any:
        operands = [self._device.operand(other) for other in others]
        result = getattr(self._array, name)(*operands)
        if in_place:
            assert result is self._array, "an operation in place that was not"
            return self
        return result if result is NotImplemented else self._device.wrap(result)

    return method


for _name in ("sum", "mean", "max", "min", "any", "all", "argmax"):
    setattr(StrictArray, _name, _reduction(_name))
for _name in (*BINARY, *(f"r{name}" for name in REFLECTED), "neg", "invert", "pos", "abs"):
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in IN_PLACE:
    setattr(StrictArray, f"__i{_name}__", _operator(f"__i{_name}__", in_place=True))


class StrictDevice:
    """One device: what is on it, and what was counted. `xp` is its array module."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.captured: list[Callable[[], None]] | None = None
        self.still = False
        self.stream: Any = None
        self._memory: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
        self._pinned: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
        self.xp = _module(self)

    def remember(self, array: np.ndarray) -> None:
        """Keep in mind, as long as it lives, where the memory of an array begins and ends."""
        while isinstance(array.base, np.ndarray):
            array = array.base
        self._memory[array.ctypes.data] = array

    def holds(self, address: int, size: int) -> bool:
        """Whether so many bytes from an address on are memory of this device that is in use."""
        return any(
            a.ctypes.data <= address <= address + size <= a.ctypes.data + a.nbytes for a in self._memory.values()
        )

    def pin(self, size: int) -> np.ndarray:
        """Memory of the host from which this device can fetch by itself."""
        memory = np.full(size, 255, np.uint8)
        self._pinned[memory.ctypes.data] = memory
        return memory

    def pinned(self, address: int, size: int) -> bool:
        """Whether so many bytes from an address on are such memory."""
        return any(
            m.ctypes.data <= address <= address + size <= m.ctypes.data + m.nbytes for m in self._pinned.values()
        )

    def fetch(self, address: int, size: int, target: int, stream: Any) -> None:
        """Copy from pinned memory; memory that is not pinned would make the host wait."""
        assert self.pinned(address, size), "this memory is not pinned"
        give = self.give if stream is None else stream.give
        give(lambda: ctypes.memmove(target, address, size))

    def give(self, work: Callable[[], Any]) -> None:
        """Kernels, products and copies come here: carried out, or captured."""
        if self.captured is None:
            work()
        else:
            self.captured.append(work)

    def wrap(self, array: Any) -> StrictArray:
        return StrictArray(self, array)

    def operand(self, value: Any) -> Any:
        """The numpy array of an array of this device, or a scalar as it is; anything else is refused."""
        assert self.captured is None, "an operation of the array module during a capture"
        assert not self.still, "an operation of the array module while a step is written down"
        if isinstance(value, StrictArray):
            assert value._device is self, "an array of another device"
            return value._array
        if isinstance(value, SCALARS) and not isinstance(value, np.ndarray):
            return value
        raise TypeError(f"an array on the device and a {type(value).__name__} of the host in one operation")

    def key(self, key: Any) -> Any:
        """An index; a mask makes the host wait for the number of its entries."""
        if isinstance(key, tuple):
            return tuple(self.key(one) for one in key)
        if isinstance(key, StrictArray):
            self.counts.syncs += key.dtype == bool
            return key._array
        if isinstance(key, slice | int | type(None) | type(Ellipsis)):
            return key
        raise TypeError(f"a {type(key).__name__} of the host as an index into an array on the device")

    def upload(self, host: Any, dtype: Any) -> StrictArray:
        if isinstance(host, StrictArray):
            return host if dtype is None else host.astype(dtype, copy=False)
        self.counts.uploads += 1
        return self.wrap(np.array(host, dtype=dtype))


class _Ufunc:
    """An elementwise function with cupy's keywords."""

    def __init__(self, device: StrictDevice, name: str) -> None:
        self._device, self._ufunc = device, getattr(np, name)

    def __call__(self, *operands: Any, out: Any = None, dtype: Any = None) -> StrictArray:
        hosts = [self._device.operand(operand) for operand in operands]
        assert any(isinstance(host, np.ndarray) for host in hosts), "no operand is on the device"
        result = self._ufunc(*hosts, out=self._device.operand(out), **({} if dtype is None else {"dtype": dtype}))
        return self._device.wrap(result) if out is None else out

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        result = self._ufunc.reduce(self._device.operand(array), axis, dtype, self._device.operand(out), keepdims)
        return self._device.wrap(result) if out is None else out

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        self._ufunc.at(self._device.operand(a), self._device.key(indices), self._device.operand(b))


def _module(device: StrictDevice) -> ModuleType:
    """The array module of a device, with cupy's signatures."""
    xp = ModuleType("strict_xp")
    wrap, operand = device.wrap, device.operand

    def poisoned(shape: Any, dtype: Any = float) -> StrictArray:
        assert device.captured is None, "memory is taken during a capture"
        array = np.empty(shape, dtype)
        array.fill(np.nan if array.dtype.kind in "fc" else -1 if array.dtype.kind == "i" else 0)
        return wrap(array)

    def matmul(a: Any, b: Any, out: Any = None) -> StrictArray:
        result = np.matmul(operand(a), operand(b), out=operand(out))
        return wrap(result) if out is None else out

    def dot(a: Any, b: Any, out: Any = None) -> StrictArray:
        result = np.dot(operand(a), operand(b), out=operand(out))
        return wrap(result) if out is None else out

    def einsum(subscripts: str, *operands: Any) -> StrictArray:
        return wrap(np.einsum(subscripts, *(operand(one) for one in operands)))

    def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = None) -> None:
        np.copyto(operand(dst), operand(src), casting, where=True if where is None else operand(where))

    def clip(a: Any, a_min: Any, a_max: Any, out: Any = None) -> StrictArray:
        result = np.clip(operand(a), operand(a_min), operand(a_max), out=operand(out))
        return wrap(result) if out is None else out

    def concatenate(tup: Any, axis: Any = 0) -> StrictArray:
        return wrap(np.concatenate([operand(one) for one in tup], axis))

    functions: dict[str, Callable[..., Any]] = {
        "asarray": lambda a, dtype=None: device.upload(a, dtype),
        "empty": poisoned,
        "zeros": lambda shape, dtype=float: wrap(np.zeros(shape, dtype)),
        "ones": lambda shape, dtype=float: wrap(np.ones(shape, dtype)),
        "eye": lambda N, M=None, k=0, dtype=float: wrap(np.eye(N, M, k, dtype)),
        "arange": lambda start, stop=None, step=1, dtype=None: wrap(np.arange(start, stop, step, dtype)),
        "zeros_like": lambda a: wrap(np.zeros_like(operand(a))),
        "where": lambda condition, x, y: wrap(np.where(operand(condition), operand(x), operand(y))),
        "repeat": lambda a, repeats, axis=None: wrap(np.repeat(operand(a), repeats, axis)),
        "expand_dims": lambda a, axis: wrap(np.expand_dims(operand(a), axis)),
        "take": lambda a, indices, axis=None, out=None: a.take(indices, axis, out),
        **{f.__name__: f for f in (matmul, dot, einsum, copyto, clip, concatenate)},
    }
    xp.__dict__.update(functions)
    xp.__dict__.update({name: _Ufunc(device, name) for name in UFUNCS})
    xp.__dict__.update({name: getattr(np, name) for name in ("float32", "float64", "int64", "complex128", "bool_")})
    xp.__dict__["functions"] = {name: list(inspect.signature(f).parameters) for name, f in functions.items()}
    return xp
