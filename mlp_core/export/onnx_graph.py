"""An ONNX graph written like numpy: tensors with operators, and the functions that the engine's formulas call.

The engine's own activations run on these tensors, because they are written on any array module; what they do becomes
nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
"""Of 2022: every onnxruntime since 1.12 runs them."""


def _operator(kind: str, turned: bool = False, dtype: Any = None) -> Callable[[Tensor, Any], Tensor]:
    """A method: the node of a tensor and another, which may be a number; turned: of the other and the tensor."""

    def method(self: Tensor, other: Any) -> Tensor:
        pair = (self, self.graph.tensor(other, self.dtype))
        return self.graph.node(kind, *(pair[::-1] if turned else pair), dtype=dtype)

    return method


def _function(kind: str) -> Callable[[Graph, Tensor], Tensor]:
    """A method of the array module: the node of a tensor."""
    return lambda self, a: self.node(kind, a)


class Tensor:
    """The output of a node, [rows, columns] or [1, columns]."""

    __array_ufunc__ = None  # numpy's numbers leave arithmetic to the methods below

    def __init__(self, graph: Graph, name: str, dtype: Any) -> None:
        self.graph, self.name, self.dtype = graph, name, np.dtype(dtype)

    @property
    def real(self) -> Tensor:
        return self

    def astype(self, dtype: Any, copy: bool = True) -> Tensor:
        """The same numbers in another type."""
        return self if np.dtype(dtype) == self.dtype else self.graph.cast(self, dtype)

    __add__ = __radd__ = _operator("Add")
    __sub__, __rsub__ = _operator("Sub"), _operator("Sub", turned=True)
    __mul__ = __rmul__ = _operator("Mul")
    __truediv__, __rtruediv__ = _operator("Div"), _operator("Div", turned=True)
    __gt__, __lt__ = _operator("Greater", dtype=bool), _operator("Less", dtype=bool)
    __ge__, __le__ = _operator("GreaterOrEqual", dtype=bool), _operator("LessOrEqual", dtype=bool)
    equals = _operator("Equal", dtype=bool)

    def __neg__(self) -> Tensor:
        return self.graph.node("Neg", self)

    def columns(self, places: Any) -> Tensor:
        """These columns, or as [rows] the one at a place."""
        return self.graph.node("Gather", self, self.graph.tensor(np.array(places), np.int64), axis=1)


class Graph:
    """Nodes and constants as they grow; it also is the array module that formulas are given."""

    def __init__(self, taken: Any = ()) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy = helper, numpy_helper
        self.nodes: list[Any] = []
        self.constants: dict[tuple[Any, ...], Tensor] = {}
        self.made: dict[tuple[str, ...], Tensor] = {}
        self.tensors: list[Any] = []
        self.taken, self.count = set(taken), 0

    def _name(self, kind: str) -> str:
        self.count += 1
        name = f"{kind}_{self.count}"
        return name if name not in self.taken else self._name(kind)

    def tensor(self, value: Any, dtype: Any) -> Tensor:
        """A value as a tensor: itself, or a constant of this type; equal ones are there once."""
        if isinstance(value, Tensor):
            return value
        array = np.asarray(value, object if dtype is str else dtype)
        key = (array.dtype.str, array.shape, tuple(array.ravel()) if dtype is str else array.tobytes())
        if key not in self.constants:
            name = self._name("constant")
            self.tensors.append(self._numpy.from_array(array, name))
            self.constants[key] = Tensor(self, name, array.dtype)
        return self.constants[key]

    def node(self, kind: str, *inputs: Tensor, dtype: Any = None, domain: str = "", **attributes: Any) -> Tensor:
        """The output of a node, of the type of its first input where nothing is said; equal nodes are there once."""
        names = [tensor.name for tensor in inputs]
        key = (kind, domain, *names, repr(attributes))
        if key not in self.made:
            name = self._name(kind)
            self.nodes.append(self._helper.make_node(kind, names, [name], domain=domain, name=name, **attributes))
            self.made[key] = Tensor(self, name, inputs[0].dtype if dtype is None else dtype)
        return self.made[key]

    def cast(self, tensor: Tensor, dtype: Any) -> Tensor:
        to = self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.node("Cast", tensor, dtype=dtype, to=to)

    def join(self, parts: list[Tensor]) -> Tensor:
        """Columns side by side."""
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=1)

    def lookup(self, words: Tensor, keys: list[str], values: list[Any], default: Any) -> Tensor:
        """The value of each word, whole numbers or float32; `default` for a word that is no key."""
        kind, dtype = ("int64", np.int64) if isinstance(default, int) else ("float", np.float32)
        given = {f"values_{kind}s": values, f"default_{kind}": default}
        return self.node("LabelEncoder", words, dtype=dtype, domain="ai.onnx.ml", keys_strings=keys, **given)

    # the array module

    def where(self, mask: Tensor, a: Any, b: Any) -> Tensor:
        dtype = next(one.dtype for one in (a, b) if isinstance(one, Tensor))
        return self.node("Where", mask, self.tensor(a, dtype), self.tensor(b, dtype), dtype=dtype)

    def maximum(self, a: Tensor, b: Any) -> Tensor:
        return self.node("Max", a, self.tensor(b, a.dtype))

    def minimum(self, a: Tensor, b: Any) -> Tensor:
        return self.node("Min", a, self.tensor(b, a.dtype))

    exp, log, sqrt = _function("Exp"), _function("Log"), _function("Sqrt")
    tanh, sin, abs = _function("Tanh"), _function("Sin"), _function("Abs")

    def copysign(self, a: Tensor, sign: Tensor) -> Tensor:
        return self.where(sign < 0, -a, a)

    def log1p(self, a: Tensor) -> Tensor:
        """log(1 + a), exact for small a too (Goldberg, "What every computer scientist should know", 1991)."""
        u = a + 1.0
        return self.where(u.equals(1.0), a, self.log(u) * a / (u - 1.0))

    def expm1(self, a: Tensor) -> Tensor:
        """exp(a) - 1, exact for small a too (by the same device)."""
        u = self.exp(a)
        small = self.where(u.equals(1.0), a, (u - 1.0) * a / self.log(u))
        return self.where(self.abs(a) < 0.5, small, u - 1.0)

    def mean(self, a: Tensor) -> Tensor:
        """The mean of each row, [rows, 1]."""
        return self.node("ReduceMean", a, axes=[1], keepdims=1)

    def any(self, mask: Tensor) -> Tensor:
        """Whether any of a row is true, [rows, 1]."""
        return self.node("ReduceMax", self.cast(mask, np.int32), axes=[1], keepdims=1) > 0
