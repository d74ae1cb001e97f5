"""The layers of a multilayer perceptron, each with its backward pass under its forward pass.

A layer is built, told its rows of memory once (`allocate`), given views into the parameter vector (`bind`), and then
runs `forward` and `backward` without allocating. Arrays returned belong to the layer and are overwritten by its next
call; `backward` may overwrite the error it is given. Shapes: X [b, n] in, A [b, m] out, Delta [b, m] = dLoss/dA.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from mlp_core.nn.activations import Activation, Identity, activation_gradient, bias_activation
from mlp_core.nn.backend import Array, Backend
from mlp_core.nn.parameters import Spec
from mlp_core.nn.primitives import add, copy, dropout_mask, multiply
from mlp_core.rng import generator


@dataclass(frozen=True, slots=True)
class Pass:
    """How a forward pass is meant: with dropout and batch statistics (`training`), and for which (seed, step).

    `record` lets batch norm update its running statistics; the gradient check, which must leave no trace, does not.
    `dropout` is the share of every layer's dropout that is left at this step. `first` is the place of the first row in
    its batch, where the pass is over a part of it.
    """

    training: bool = False
    seed: int = 0
    step: int = 0
    record: bool = True
    dropout: float = 1.0
    first: int = 0


EVALUATE = Pass()


Draw = Callable[[tuple[int, int], np.random.Generator], np.ndarray]


def as_device(backend: Backend, dtype: Any, host: np.ndarray) -> Array:
    """An array of the host where the backend's arrays are, in this dtype."""
    return backend.asarray(host.astype(dtype))


def head(array: Array, rows: int) -> Array:
    """The first rows of an array; the array itself where that is all of it, because a view takes time to make."""
    return array if len(array) == rows else array[:rows]


def product(xp: Any, A: Array, B: Array, out: Array) -> Array:
    """out = A @ B. A [i, k], B [k, j], out [i, j]."""
    return xp.matmul(A, B, out=out)


class Layer:
    """One step of the network. `index` is the position that PyTorch's nn.Sequential would give it."""

    modules = 1

    def __init__(self, index: int, units: int) -> None:
        self.index, self.units = index, units

    def specs(self) -> list[Spec]:
        """The trained tensors of this layer."""
        return []

    def statistics(self) -> list[Spec]:
        """Tensors that are kept but not trained."""
        return []

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array], kept: Mapping[str, Array]) -> None:
        """Take the views of this layer's tensors out of the network's."""

    def initialize(self, seed: int) -> None:
        """Give this layer's tensors their first values: drawn on the host, from a stream of the layer's own."""

    def allocate(self, backend: Backend, dtype: Any, rows: int, training: bool) -> None:
        """Take memory for at most `rows` rows; the backward pass needs its share only when `training`."""
        self.xp, shape = backend.xp, (rows, self.units)
        self._A = backend.empty(shape, dtype)
        self._T: Array = backend.empty(shape, dtype) if training else None  # what the backward pass computes with
        self._use_passes(backend, dtype, rows)

    def _use_passes(self, backend: Backend, dtype: Any, rows: int) -> None:
        """Put the passes that a backend has for this kind of layer as a whole in the place of both methods."""
        passes = backend.kernels.get(f"{type(self).__name__.lower()}_passes")
        if passes is not None and dtype.char in "fd":
            self.forward, self.backward = passes(self, dtype, rows)  # type: ignore[method-assign]

    def forward(self, X: Array, mode: Pass) -> Array:
        raise NotImplementedError

    def backward(self, Delta: Array, input_gradient: bool = True) -> Array | None:
        """Write the gradients of this layer's tensors; return dLoss/dX [b, n], or None if not asked for."""
        raise NotImplementedError


class Dense(Layer):
    """A = f(X W^T + b): the matrix product, the bias and, unless it stands alone, the activation.

    `draw` makes the first weights [units, inputs] from a generator; `start` are the first biases, 0 if None, drawn from
    N(0, 1) if "normal". `ntk` is the parametrisation of the neural tangent kernel (Jacot, Gabriel, Hongler, NeurIPS
    2018): A = f(X W^T / sqrt(n) + b), n the inputs, with weights of deviation about 1, so that one learning rate suits
    layers of every width; then dW and dLoss/dX have the factor 1 / sqrt(n), too.
    """

    def __init__(
        self,
        index: int,
        inputs: int,
        units: int,
        f: Activation | None,
        bias: bool = True,
        draw: Draw | None = None,
        start: Sequence[float] | str | None = None,
        ntk: bool = False,
    ) -> None:
        super().__init__(index, units)
        self.draw, self.start, self.ntk = draw, start, ntk
        self.scale = 1 / math.sqrt(inputs) if ntk else 1.0
        self.inputs, self.f, self.has_bias = inputs, f, bias
        self.modules = 1 if f is None else 2
        self._f = f or Identity()
        self.b: Array | None = None
        self.db: Array | None = None

    def specs(self) -> list[Spec]:
        weight = Spec(f"{self.index}.weight", (self.units, self.inputs), is_weight=True)
        bias = Spec(f"{self.index}.bias", (self.units,), is_weight=False, kind="bias")
        return [weight, bias] if self.has_bias else [weight]

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array], kept: Mapping[str, Array]) -> None:
        self.W, self.dW = values[f"{self.index}.weight"], gradients[f"{self.index}.weight"]  # [m, n]
        if self.has_bias:
            self.b, self.db = values[f"{self.index}.bias"], gradients[f"{self.index}.bias"]  # [m]

    def initialize(self, seed: int) -> None:
        if self.draw is not None:
            self.W[...] = self._asarray(self.draw((self.units, self.inputs), generator(seed, "init", self.index)))
        if self.b is not None:
            self.b[...] = self._asarray(self._first_biases(seed))

    def _first_biases(self, seed: int) -> np.ndarray:
        if self.start == "normal":
            return generator(seed, "init", self.index, 1).standard_normal(self.units)
        return np.zeros(self.units) if self.start is None else np.asarray(self.start, np.float64)

    def allocate(self, backend: Backend, dtype: Any, rows: int, training: bool) -> None:
        self._asarray = partial(as_device, backend, dtype)
        self._product = backend.primitive(product)
        self._activate = backend.primitive(bias_activation)
        self._differentiate = backend.primitive(activation_gradient)
        self._Z = backend.empty((rows, self.units), dtype)
        overwrite = self._f.from_output or not training
        self._A = self._Z if overwrite else backend.empty((rows, self.units), dtype)
        self._dX: Array = backend.empty((rows, self.inputs), dtype) if training else None

    def forward(self, X: Array, mode: Pass) -> Array:
        self.X, self.Z, self.A = X, head(self._Z, len(X)), head(self._A, len(X))
        self._product(X, self.W.T, self.Z)  # [b, m] = [b, n] @ [n, m]
        if self.ntk:
            self.Z *= self.scale
        self._activate(self.Z, self.b, self._f, self.A)
        return self.A

    def backward(self, Delta: Array, input_gradient: bool = True) -> Array | None:
        self._differentiate(Delta, self._f, self.Z, self.A, self.db)  # dLoss/dZ [b, m], and its column sums [m]
        self._product(Delta.T, self.X, self.dW)  # [m, n] = [m, b] @ [b, n]
        if self.ntk:
            self.dW *= self.scale
        if not input_gradient:
            return None
        dX = head(self._dX, len(Delta))
        self._product(Delta, self.W, dX)  # [b, n] = [b, m] @ [m, n]
        if self.ntk:
            dX *= self.scale
        return dX


class Activate(Layer):
    """A = f(Z), where a norm stands between the matrix product and the activation."""

    def __init__(self, index: int, units: int, f: Activation) -> None:
        super().__init__(index, units)
        self.f = f

    def allocate(self, backend: Backend, dtype: Any, rows: int, training: bool) -> None:
        self._activate = backend.primitive(bias_activation)
        self._differentiate = backend.primitive(activation_gradient)
        self._A = backend.empty((rows, self.units), dtype)

    def forward(self, X: Array, mode: Pass) -> Array:
        self.Z, self.A = X, head(self._A, len(X))
        self._activate(self.Z, None, self.f, self.A)
        return self.A

    def backward(self, Delta: Array, input_gradient: bool = True) -> Array | None:
        self._differentiate(Delta, self.f, self.Z, self.A)
        return Delta


class PRelu(Layer):
    """A = Z for Z > 0, else a Z, with one trained slope a, 0.25 at first (He et al., ICCV 2015)."""

    initial: ClassVar[float] = 0.25

    def __init__(self, index: int, units: int, slope: float = initial) -> None:
        super().__init__(index, units)
        self.slope = slope

    def specs(self) -> list[Spec]:
        return [Spec(f"{self.index}.weight", (1,), is_weight=False)]

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array], kept: Mapping[str, Array]) -> None:
        self.a, self.da = values[f"{self.index}.weight"], gradients[f"{self.index}.weight"]

    def initialize(self, seed: int) -> None:
        self.a[...] = self.slope

    def forward(self, X: Array, mode: Pass) -> Array:
        self.Z, A = X, head(self._A, len(X))
        self.xp.multiply(X, self.a, out=A)
        self.xp.copyto(A, X, where=X.real > 0)
        return A

    def backward(self, Delta: Array, input_gradient: bool = True) -> Array | None:
        T, left = head(self._T, len(Delta)), self.Z <= 0
        self.xp.multiply(Delta, self.Z, out=T)  # dLoss/da = sum over Z <= 0 of Delta Z
        T *= left
        self.da[0] = T.sum()
        self.xp.copyto(T, Delta)
        T *= self.a
        self.xp.copyto(Delta, T, where=left)
        return Delta


class Dropout(Layer):
    """A = X * mask / (1 - p) in training, X otherwise; the mask is 0 with probability p (Srivastava et al. 2014).

    The mask is a pure function of (seed, step, layer): nothing has to be saved to draw it again. A schedule may leave
    but a share of p (`Pass.dropout`).
    """

    def __init__(self, index: int, units: int, p: float) -> None:
        super().__init__(index, units)
        self.p = p

    def allocate(self, backend: Backend, dtype: Any, rows: int, training: bool) -> None:
        self._draw, self._multiply = backend.primitive(dropout_mask), backend.primitive(multiply)
        if training:
            self._uniform = np.empty((rows, self.units), np.float32)
            self._mask = backend.empty((rows, self.units), np.zeros(0, dtype).real.dtype)
            self._A = backend.empty((rows, self.units), dtype)

    def forward(self, X: Array, mode: Pass) -> Array:
        p = self.p * mode.dropout
        self.active = mode.training and p > 0
        if not self.active:
            return X
        uniform, self.mask, A = head(self._uniform, len(X)), head(self._mask, len(X)), head(self._A, len(X))
        self._draw(self.mask, uniform, p, mode.seed, mode.step, self.index, mode.first * self.units)
        return self._multiply(X, self.mask, A)

    def backward(self, Delta: Array, input_gradient: bool = True) -> Array | None:
        if self.active:
            self._multiply(Delta, self.mask, Delta)
        return Delta


class Residual(Layer):
    """A = X + inner(X), a skip connection around layers that keep the width (He et al., CVPR 2016)."""

    def __init__(self, index: int, units: int, inner: Sequence[Layer]) -> None:
        super().__init__(index, units)
        self.inner = list(inner)
        self.modules = sum(layer.modules for layer in inner)

    def specs(self) -> list[Spec]:
        return [spec for layer in self.inner for spec in layer.specs()]

    def statistics(self) -> list[Spec]:
        return [spec for layer in self.inner for spec in layer.statistics()]

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array], kept: Mapping[str, Array]) -> None:
        for layer in self.inner:
            layer.bind(values, gradients, kept)

    def initialize(self, seed: int) -> None:
        for layer in self.inner:
            layer.initialize(seed)

    def allocate(self, backend: Backend, dtype: Any, rows: int, training: bool) -> None:
        self._add, self._copy = backend.primitive(add), backend.primitive(copy)
        for layer in self.inner:
            layer.allocate(backend, dtype, rows, training)
        self._A = backend.empty((rows, self.units), dtype)
        self._skip: Array = backend.empty((rows, self.units), dtype) if training else None

    def forward(self, X: Array, mode: Pass) -> Array:
        A = X
        for layer in self.inner:
            A = layer.forward(A, mode)
        return self._add(X, A, head(self._A, len(X)))

    def backward(self, Delta: Array, input_gradient: bool = True) -> Array | None:
        skip = head(self._skip, len(Delta))
        self._copy(Delta, skip)
        for layer in reversed(self.inner):
            Delta = layer.backward(Delta)
        self._add(Delta, skip, Delta)
        return Delta
