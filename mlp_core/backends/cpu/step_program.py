"""The list of a compiled training step: from the numbers of its rows to the moved parameters, as instructions.

Each thread takes its rows of the batch through the whole forward and backward pass; then all meet, and each takes its
units of every layer through the weight gradient and the update, while they are in its cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from mlp_core.backends import numbers
from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu.crew import Crew
from mlp_core.data.batches.batches import Batches
from mlp_core.data.batches.scaled_rows import Scaled
from mlp_core.nn.activations import Identity
from mlp_core.nn.backend import Array
from mlp_core.nn.layers import Dense, Dropout, Layer
from mlp_core.nn.objective import Objective
from mlp_core.nn.optimizers import Optimizer

TOTAL, STEP, RATES = 0, 1, 2
"""Places in the cells of the crew: the weight of the batch, the number of the step, and from there on the numbers of
the update rule for each segment of the optimizer."""

STRIP = 1 << 20
"""Bytes of the gradient of a weight that are made and used up at once by a thread: few enough to stay in its caches."""

CACHE = 1 << 20
"""Bytes of a matrix from which reading it twice is waiting for memory."""

FEW = 32
"""Units from which each thread has enough of its own in the gradient of a weight."""

Labelled = tuple[str, do.Record]
_MEET: Labelled = ("meet", do.meet())


class StepList:
    """Writes down the steps of one training, over memory of its network, optimizer and batches.

    `slots` are the numbers of the update rule. What is written down is true for as long as this lives.
    """

    def __init__(
        self, objective: Objective, optimizer: Optimizer, batches: Batches, crew: Crew, slots: int, seed: int
    ) -> None:
        self._objective, self._optimizer, self._batches, self._crew = objective, optimizer, batches, crew
        self._slots, self._seed, self._parameters = slots, seed, objective.network.parameters
        self._layers, self._first = objective.network.layers, objective.network._first
        self._Delta: Array = objective.network.Delta
        self._moves = {  # the segment of each tensor; frozen ones belong to none
            spec.name: number
            for spec in self._parameters.specs
            for number, segment in enumerate(optimizer.segments)
            if segment.part.start <= self._parameters.slices[spec.name].start < segment.part.stop
        }
        self._penalised = penalised(objective)
        self._kept: list[np.ndarray] = []
        self._long = [name for name in self._parameters.values if self._strip(name)]

    def step(self, size: int) -> list[Labelled]:
        """A step of `size` rows, each instruction with its name."""
        return [*self.passes(size), *self._changes(size)]

    def passes(self, size: int) -> list[Labelled]:
        """Up to the Deltas of all layers, and a check of the loss."""
        penalties, terms = self._penalties(size)
        rows = [*self._gathers(size), *self._forward(size), self._loss(size), *self._backward(size), *penalties]
        return [*rows, _MEET, ("check", do.check(terms))]

    def gradients(self, size: int) -> list[Labelled]:
        """dW = Delta^T A and db of every layer, with what penalties add to them."""
        found: list[Labelled] = []
        for name, Delta, X in self._tensors(size):
            theta, grad, *_ = self._vectors(name)
            found.append(self._gradient(name, Delta, X, grad))
            found += [_MEET] if self._few(name, X) else []
            found += self._penalty_gradient(name, theta, grad)
        return found

    @property
    def saved(self) -> int:
        """Bytes of the gradient that steps do not write to, less what they write to instead."""
        gradients = self._parameters.gradients
        return sum(int(gradients[name].nbytes) for name in self._long) - (int(self._strips.nbytes) if self._long else 0)

    # --- rows of the batch ---

    def _gathers(self, size: int) -> list[Labelled]:
        batches, where = self._batches, self._crew.cursor
        X, room = batches.X, batches._X[:size]
        if isinstance(X, Scaled):
            first = do.gather_scaled(X.X, where, 0, *X.scales, room)
        else:
            first = do.gather(X, where, 0, room)
        pairs = [(batches.Y, batches._Y), *([] if batches.w is None else [(batches.w, batches._w)])]
        return [("gather", first), *(("gather", do.gather(Y, where, 0, room[:size])) for Y, room in pairs)]

    def _forward(self, size: int) -> list[Labelled]:
        """Z = A W^T and A = f(Z + b), layer by layer, and A times the mask where there is dropout."""
        found: list[Labelled] = []
        A = self._batches._X[:size]
        for layer in self._layers:
            if isinstance(layer, Dense):
                few = 2 * size <= layer.units  # fewer numbers of rows than of W come from another core's cache
                found += self._product(f"product {layer.index} forward", A, layer.W.T, layer._Z[:size], few)
                found += self._activation(layer, size)
            elif isinstance(layer, Dropout):
                found += self._dropout(layer, A, size)
            A = _output(layer)[:size]
        return found

    def _product(self, name: str, A: Array, B: Array, out: Array, by_columns: bool) -> list[Labelled]:
        """out = A B, by rows or by columns. By columns each thread reads its share of B only; but then all must meet,
        because it reads rows that others have made, and makes parts of theirs."""
        product = (name, do.product(A, B, out, self._crew.scratch, by_columns))
        return [_MEET, product, _MEET] if by_columns else [product]

    def _activation(self, layer: Dense, size: int) -> list[Labelled]:
        if layer.b is None and isinstance(layer._f, Identity):
            return []
        parameter = self._constant([numbers.of_activation(layer._f)])
        record = do.activation(layer._f.name, layer._Z[:size], layer.b, layer._A[:size], parameter)
        return [("bias, activation", record)]

    def _dropout(self, layer: Dropout, X: Array, size: int) -> list[Labelled]:
        mask, A = layer._mask[:size], layer._A[:size]
        step, scale = self._crew.cells[STEP:].ctypes.data, self._constant((1 / (1 - layer.p),))
        return [
            ("dropout mask", do.dropout_mask(mask, layer.p, self._seed, layer.index, step, 0, scale)),
            ("dropout", do.multiply(X, mask, A)),
        ]

    def _loss(self, size: int) -> Labelled:
        """The loss of each row, and Delta = dLoss/dZ."""
        batches, loss = self._batches, self._objective.loss
        Z, Delta = _output(self._layers[-1])[:size], self._Delta[:size]
        parameters, total = self._constant(numbers.of_loss(loss)), do.at(self._crew.cells[TOTAL:])
        Y, w = batches._Y[:size], batches._w
        return "loss", do.loss(loss.name, Z, Y, w, Delta, parameters, total, do.at(self._crew.terms))

    def _backward(self, size: int) -> list[Labelled]:
        """Delta *= f'(Z), times the mask where there was dropout, and back to the first layer that learns."""
        found: list[Labelled] = []
        Delta = self._Delta[:size]
        for layer in reversed(self._layers):
            if isinstance(layer, Dropout):
                found.append(("dropout gradient", do.multiply(Delta, layer._mask[:size], Delta)))
            elif isinstance(layer, Dense):
                found += self._slope(layer, Delta)
                if layer is self._first:
                    break
                assert layer._dX is not None
                before = layer._dX[:size]
                long = 2 * size <= layer.inputs and layer.W.nbytes > CACHE
                found += self._product(f"product {layer.index} input gradient", Delta, layer.W, before, long)
                Delta = before
        return found

    def _slope(self, layer: Dense, Delta: Array) -> list[Labelled]:
        if isinstance(layer._f, Identity):
            return []
        rows, parameter = len(Delta), self._constant([numbers.of_activation(layer._f)])
        record = do.slope(layer._f.name, Delta, layer._Z[:rows], layer._A[:rows], parameter)
        return [("activation gradient", record)]

    def _penalties(self, size: int) -> tuple[list[Labelled], int]:
        """The penalty of every unit, to be added up after the losses of `size` rows; and how many numbers these are."""
        found: list[Labelled] = []
        for name in self._penalised:
            theta = self._vectors(name)[0]
            found.append(("penalty", do.penalty(theta, self._strengths, do.at(self._crew.terms[size:]))))
            size += len(theta)
        return found, size

    # --- units of the layers ---

    def _changes(self, size: int) -> list[Labelled]:
        """The gradient and right after it the update of each tensor."""
        found: list[Labelled] = []
        for name, Delta, X in self._tensors(size):
            change = self._in_strips if name in self._long else self._change
            found += change(name, Delta, X, self._vectors(name))
        return found

    def _tensors(self, size: int) -> list[tuple[str, Array, Array]]:
        """Every tensor, those of the last layer first, with the Delta and the inputs of its layer."""
        found, X = list[tuple[str, Array, Array]](), self._batches._X
        for layer, after in zip(self._layers, [*self._layers[1:], None], strict=True):
            if isinstance(layer, Dense):
                while isinstance(after, Dropout):  # works on the Delta of the layer behind it, in place
                    after = self._layers[self._layers.index(after) + 1]
                Delta = self._Delta if after is None else after._dX  # type: ignore[attr-defined]
                names = [f"{layer.index}.weight", *([] if layer.b is None else [f"{layer.index}.bias"])]
                found = [*((name, Delta[:size], X[:size]) for name in names), *found]
            X = _output(layer)
        return found

    def _vectors(self, name: str) -> list[Array]:
        """theta, gradient and state of a tensor, each [units, entries]."""
        parameters, part = self._parameters, self._parameters.slices[name]
        vectors = [parameters.theta, parameters.grad, *self._optimizer.state.values()]
        return [vector[part].reshape(len(parameters.values[name]), -1) for vector in vectors]

    def _change(self, name: str, Delta: Array, X: Array, vectors: list[Array], part: int = 0) -> list[Labelled]:
        """The gradient of (some units of) a tensor, and its update by the rule, if it is not frozen."""
        theta, grad, *_ = vectors
        found = [self._gradient(name, Delta, X, grad, part)]
        found += [_MEET] if self._few(name, X) else []
        found += self._penalty_gradient(name, theta, grad)
        if name in self._moves:
            given = do.at(self._crew.cells[RATES + self._moves[name] * self._slots :])
            found.append(("optimizer", do.update(self._optimizer.rule.__name__, vectors, given, *theta.shape)))
        return found

    def _gradient(self, name: str, Delta: Array, X: Array, grad: Array, part: int = 0) -> Labelled:
        index, _, kind = name.partition(".")
        if kind == "weight":
            scratch = self._crew.scratch + self._crew.library.scratch * part
            record = do.product(Delta.T, X, grad, scratch, by_columns=self._few(name, X))
            return f"product {index} weight gradient", record
        return "bias gradient", do.sum_rows(Delta, grad)

    def _few(self, name: str, X: Array) -> bool:
        """Whether a weight has so few units that its gradient is shared out by columns: each thread then reads its
        share of X, which is what such a product takes its time for."""
        return name.endswith("weight") and len(self._parameters.values[name]) < FEW and X.nbytes > CACHE

    def _penalty_gradient(self, name: str, theta: Array, grad: Array) -> list[Labelled]:
        if name not in self._penalised:
            return []
        return [("penalty gradient", do.penalty_gradient(theta, grad, self._strengths))]

    def _in_strips(self, name: str, Delta: Array, X: Array, vectors: list[Array]) -> list[Labelled]:
        """The change of a long weight, some units after others: its gradient never leaves the cache, and there is but
        one strip of it for each thread."""
        threads, rows = self._crew.threads, self._strip(name)
        units, entries = vectors[0].shape
        room = self._strips[:, : rows * entries].reshape(threads, rows, entries)

        def change(first: int, count: int, part: int) -> list[do.Record]:
            theta, _, *state = (vector[first : first + count] for vector in vectors)
            here = [theta, room[part, :count], *state]
            return [record for _, record in self._change(name, Delta[:, first : first + count], X, here, part)]

        forms = self._keep(do.linear(self._crew.library, change, threads))
        record = do.in_strips(forms, units, rows, self._keep(np.empty((threads, do.WIDTH), np.int64)))
        return [(f"product {name.partition('.')[0]} weight gradient, optimizer", record)]

    def _strip(self, name: str) -> int:
        """Units to a strip of a tensor; 0 unless it is a weight that moves and has more of them than one per thread.

        Few units are never in strips: all threads may have to meet over them, which none can within an instruction.
        """
        units, *inputs = self._parameters.values[name].shape
        rows = max(16, STRIP // (16 * inputs[0] * self._Delta.itemsize) * 16) if inputs else units
        return rows if name in self._moves and units >= FEW and units > rows * self._crew.threads else 0

    # --- what instructions look up ---

    @cached_property
    def _strips(self) -> Array:
        """Memory for the gradient of one strip for each thread, the same for all weights."""
        longest = max(self._strip(name) * self._parameters.gradients[name][0].size for name in self._long)
        return np.empty((self._crew.threads, longest), self._Delta.dtype)

    @cached_property
    def _strengths(self) -> int:
        return self._constant((self._objective.penalty.l2, self._objective.penalty.l1))

    def _constant(self, numbers: Sequence[float]) -> int:
        """Where numbers are that instructions look up: at least two."""
        return int(self._keep(np.array([*numbers, 0.0, 0.0])).ctypes.data)

    def _keep(self, array: np.ndarray) -> np.ndarray:
        """The array, for as long as this lives: instructions know its address."""
        self._kept.append(array)
        return array


def penalised(objective: Objective) -> list[str]:
    """The names of the tensors that a penalty is on."""
    penalty = objective.penalty
    specs = objective.network.parameters.specs if penalty.l2 or penalty.l1 else []
    return [spec.name for spec in specs if spec.is_weight or penalty.bias]


def _output(layer: Layer) -> Array:
    """The memory of a layer's outputs."""
    assert isinstance(layer, Dense | Dropout)
    return layer._A
