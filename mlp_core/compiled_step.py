"""A training step as one list of compiled instructions: from the numbers of its rows to the moved parameters.

The step that `Trainer` makes by calling one primitive after the other, for the networks that most people train: matrix
products with their activations, a usual loss, an optimizer that goes entry by entry. Each thread takes its rows of the
batch through the whole forward and backward pass; then all meet, and each takes its units of every layer through the
weight gradient and the update, while they are in its cache. Nothing is interpreted in between, and several steps can be
made in one call.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property, partial

import numpy as np

from mlp_core import instructions as do
from mlp_core.activations import Identity
from mlp_core.backend import Array, Backend
from mlp_core.batches import Batches
from mlp_core.compiled.layout import SCRATCH, WIDTH
from mlp_core.crew import Crew
from mlp_core.kernels import BACKWARD, FORWARD, LOSS, RULES, kernels
from mlp_core.layers import Dense
from mlp_core.losses import CrossEntropy
from mlp_core.objective import Objective
from mlp_core.optimizers import Optimizer
from mlp_core.team import SHARED_FLOPS

STEPS_AT_ONCE = 64
FLOPS_AT_ONCE = 2e9
"""Steps in one call, and floating-point operations after which it ends: some ten milliseconds, so that a run can be
stopped, shown and saved at any time."""

STRIP = 1 << 20
"""Bytes of the gradient of a weight that are made and used up at once by a thread: few enough to stay in its caches."""

_TOTAL = 0  # the first of the numbers that change from step to step: the weight of the batch
Labelled = tuple[str, do.Record]
_MEET: Labelled = ("meet", do.meet())


def numba_backend(threads: int = 1) -> Backend:
    """numpy with fused primitives in place of the generic ones, and with whole steps where they are all that is needed.

    Products, long updates and whole steps are shared out among `threads`.
    """
    return Backend("numba", np, {**kernels(threads), "whole_step": partial(compiled_step, threads)})


def compiled_step(threads: int, objective: Objective, optimizer: Optimizer, batches: Batches) -> CompiledStep | None:
    """The whole step of this training, or None if it needs more than there are instructions for."""
    network, loss = objective.network, objective.loss
    dtype, rule = network.dtype, optimizer.rule.__name__
    arrays = [batches.X, batches.Y, *([] if batches.w is None else [batches.w])]
    if type(batches) is not Batches or not all(isinstance(array, np.ndarray) for array in arrays):
        return None
    if isinstance(loss, CrossEntropy):
        targets = batches.Y.ndim == 1 and batches.Y.dtype == np.int64
    else:
        outputs = network.architecture.outputs
        targets = batches.Y.ndim == 2 and batches.Y.dtype == dtype and batches.Y.shape[1] == outputs
    known = (
        dtype.char in "fd"
        and all(isinstance(layer, Dense) and type(layer._f) in FORWARD for layer in network.layers)
        and type(loss) in LOSS
        and targets
        and all(array.flags.c_contiguous for array in arrays)
        and all(array.dtype == dtype for array in (batches.X, *arrays[2:]))
        and type(optimizer).step is Optimizer.step
        and rule in RULES
    )
    return CompiledStep(threads, objective, optimizer, batches) if known else None


class CompiledStep:
    """Makes training steps over memory that belongs to the network, the optimizer and the batches."""

    def __init__(self, threads: int, objective: Objective, optimizer: Optimizer, batches: Batches) -> None:
        self.objective, self.optimizer, self.batches = objective, optimizer, batches
        self._layers = [layer for layer in objective.network.layers if isinstance(layer, Dense)]
        self._Delta: Array = objective.network.Delta
        parameters = objective.network.parameters
        self._moves = [  # tensors with the segment that each belongs to; frozen ones belong to none
            (spec, number)
            for spec in parameters.specs
            for number, segment in enumerate(optimizer.segments)
            if segment.part.start <= parameters.slices[spec.name].start < segment.part.stop
        ]
        penalty = objective.penalty
        self._penalised = [
            spec for spec in parameters.specs if (penalty.l2 or penalty.l1) and (spec.is_weight or penalty.bias)
        ]
        self._slots = len(self._rule_numbers(1.0, 0))
        terms = batches.size + sum(spec.shape[0] for spec in self._penalised)
        largest = 2.0 * batches.size * max(W.size for W in parameters.values.values())
        threads = max(1, min(threads, int(largest // SHARED_FLOPS)))  # the bits are the same
        self._crew = Crew(threads, 1 + self._slots * len(optimizer.segments), terms)
        self._kept: list[np.ndarray] = []
        self._long = [name for name in parameters.values if self._strip(name)]
        self._programs: dict[int, np.ndarray] = {}
        flops = sum(6.0 * batches.size * W.size for W in parameters.values.values())
        self.most = int(max(1, min(STEPS_AT_ONCE, FLOPS_AT_ONCE // max(1.0, flops))))

    def take(self, rows: np.ndarray, size: int, weights: Sequence[float], rates: Sequence[float]) -> np.ndarray:
        """Make a step for each of the `rates`, of `size` rows each; their losses, float64 [steps].

        rows: int64 [steps * size], the numbers of their rows. weights: the weight of each batch. A loss that is no
        finite number is the last one: its step was not made, nor were those after it.
        """
        steps, optimizer, totals = len(rates), self.optimizer, np.empty(len(rates))
        numbers = np.empty((steps, 1 + self._slots * len(optimizer.segments)))
        for step, (weight, lr) in enumerate(zip(weights, rates, strict=True)):
            row = [weight or 1.0]
            for segment in optimizer.segments:
                row += self._rule_numbers(lr * segment.lr_scale, segment.weight_decay, optimizer.t + 1 + step)
            numbers[step] = row
        done = self._crew.run(self._program(size), numbers, rows.reshape(steps, size), totals)
        optimizer.t += done
        return totals[: done + 1]

    def gradient(self, rows: np.ndarray) -> float:
        """The mean loss of the rows with these numbers, every row counting the same; their gradient is left in the
        network, and nothing is moved."""
        numbers, total = np.zeros((1, len(self._crew.cells))), np.empty(1)
        numbers[0, _TOTAL] = len(rows)
        still = [*self._passes(len(rows)), *self._gradients(len(rows))]
        program = sorted(still, key=lambda one: one[0] == "check")  # a loss that is no number has a gradient, too
        self._crew.run(do.assemble([record for _, record in program]), numbers, rows[None], total)
        return float(total[0])

    def time(self, count: int) -> list[tuple[str, float]]:
        """Seconds of each instruction, done `count` times by itself at a rate of 0; the state is moved about."""
        numbers = np.tile([self.batches.size, *self._rule_numbers(0.0, 0.0) * len(self.optimizer.segments)], (count, 1))
        rows = np.resize(np.random.default_rng(0).permutation(self.batches.rows), (count, self.batches.size))
        totals, found = np.empty(count), list[tuple[str, float]]()
        size = self.batches.size
        for name, record in self.instructions(size):
            if isinstance(record[0], str):
                program, begun = do.assemble([record]), time.perf_counter()
                self._crew.run(program, numbers, rows, totals)
                found.append((name, (time.perf_counter() - begun) / count))
        return found

    def _rule_numbers(self, lr: float, decay: float, t: int = 1) -> tuple[float, ...]:
        optimizer = self.optimizer
        settings = {**optimizer.settings, "t": t} if optimizer.counts_steps else optimizer.settings
        return RULES[optimizer.rule.__name__](lr, decay, **settings)

    def _program(self, size: int) -> np.ndarray:
        if size not in self._programs:
            self._programs[size] = do.assemble([record for _, record in self.instructions(size)])
        return self._programs[size]

    def instructions(self, size: int) -> list[Labelled]:
        """The list of a step of `size` rows, each instruction with its name."""
        return [*self._passes(size), *self._changes(size)]

    def _passes(self, size: int) -> list[Labelled]:
        """Up to the Deltas of all layers and the check of the loss."""
        penalties, terms = self._penalties(size)
        rows = [*self._gathers(size), *self._forward(size), self._loss(size), *self._backward(size), *penalties]
        return [*rows, _MEET, ("check", do.check(terms))]

    def _gathers(self, size: int) -> list[Labelled]:
        batches = self.batches
        pairs = [(batches.X, batches._X), (batches.Y, batches._Y)]
        pairs += [] if batches.w is None else [(batches.w, batches._w)]
        return [
            ("gather", do.record(
                "gather", array.dtype, array.ctypes.data, array[0].size, self._crew.cursor, room.ctypes.data, size
            ))
            for array, room in pairs
        ]  # fmt: skip

    def _forward(self, size: int) -> list[Labelled]:
        """Z = A W^T and A = f(Z + b), layer by layer."""
        found: list[Labelled] = []
        A = self.batches._X[:size]
        for layer in self._layers:
            Z, out = layer._Z[:size], layer._A[:size]
            record = do.product(A, layer.W.T, Z, self._crew.scratch, by_columns=2 * size <= layer.units)
            if (
                2 * size <= layer.units
            ):  # less of the rows is to be fetched from another core's cache than of the weights
                found += [_MEET, (f"product {layer.index} forward", record), _MEET]
            else:
                found.append((f"product {layer.index} forward", record))
            instruction, numbers = FORWARD[type(layer._f)]
            if layer.b is not None or type(layer._f) is not Identity:
                b = 0 if layer.b is None else layer.b.ctypes.data
                arguments = (Z.ctypes.data, b, out.ctypes.data, *Z.shape, self._constant(numbers(layer._f)))
                found.append(("bias, activation", do.record(instruction, Z.dtype, *arguments)))
            A = out
        return found

    def _loss(self, size: int) -> Labelled:
        """The loss of each row, and Delta = dLoss/dZ."""
        objective, batches = self.objective, self.batches
        Z, Delta = self._layers[-1]._A[:size], self._Delta[:size]
        instruction, number = LOSS[type(objective.loss)]
        w = 0 if batches._w is None else batches._w.ctypes.data
        where = self._constant((number(objective.loss),)), self._crew.cells[_TOTAL:].ctypes.data
        arguments = (Z.ctypes.data, w, Delta.ctypes.data, *Z.shape, batches._Y.ctypes.data, *where)
        return "loss", do.record(instruction, Z.dtype, *arguments, self._crew.terms.ctypes.data)

    def _backward(self, size: int) -> list[Labelled]:
        """Delta *= f'(Z) and, but for the first layer, the Delta of the layer before."""
        found: list[Labelled] = []
        Delta = self._Delta[:size]
        for layer in reversed(self._layers):
            if type(layer._f) in BACKWARD:
                instruction, numbers = BACKWARD[type(layer._f)]
                A = layer._A[:size]
                arguments = (Delta.ctypes.data, 0, A.ctypes.data, *A.shape, self._constant(numbers(layer._f)))
                found.append(("activation gradient", do.record(instruction, A.dtype, *arguments)))
            if layer.index > 0:
                before: Array = layer._dX[:size]  # type: ignore[index]
                record = do.product(Delta, layer.W, before, self._crew.scratch)
                found.append((f"product {layer.index} input gradient", record))
                Delta = before
        return found

    def _penalties(self, size: int) -> tuple[list[Labelled], int]:
        """The penalty of every unit, to be added up after the losses of `size` rows; and how many numbers these are."""
        found: list[Labelled] = []
        for spec in self._penalised:
            theta, units = self.objective.network.parameters.values[spec.name], spec.shape[0]
            arguments = (units, spec.size // units, self._crew.terms[size:].ctypes.data)
            record = do.record("penalty", theta.dtype, theta.ctypes.data, 0, self._strengths, *arguments)
            found.append(("penalty", record))
            size += units
        return found, size

    def _gradients(self, size: int) -> list[Labelled]:
        """dW = Delta^T A and db of every layer, with what penalties add to them."""
        found: list[Labelled] = []
        for layer, Delta, X in self._pairs(size):
            for name in self._tensors(layer):
                theta, grad, *_ = self._vectors(name)
                found += [self._gradient(name, Delta, X, grad), *self._penalty_gradient(name, theta, grad)]
        return found

    def _changes(self, size: int) -> list[Labelled]:
        """The same, and the update of each tensor right after its gradient."""
        found: list[Labelled] = []
        for layer, Delta, X in self._pairs(size):
            for name in self._tensors(layer):
                found += self._in_strips(name, Delta, X) or self._change(name, Delta, X, self._vectors(name))
        return found

    def _pairs(self, size: int) -> list[tuple[Dense, Array, Array]]:
        """Every layer, the last one first, with its Delta and its inputs."""
        layers = self._layers
        inputs = [self.batches._X, *(layer._A for layer in layers[:-1])]
        Deltas = [*(layer._dX for layer in layers[1:]), self._Delta]
        triples = zip(layers, Deltas, inputs, strict=True)
        return [(layer, Delta[:size], X[:size]) for layer, Delta, X in reversed(list(triples))]

    def _tensors(self, layer: Dense) -> list[str]:
        return [f"{layer.index}.weight", *([] if layer.b is None else [f"{layer.index}.bias"])]

    def _vectors(self, name: str) -> list[Array]:
        """theta, gradient and state of a tensor, each [units, entries]."""
        parameters, part = self.objective.network.parameters, self.objective.network.parameters.slices[name]
        vectors = [parameters.theta, parameters.grad, *self.optimizer.state.values()]
        return [vector[part].reshape(len(parameters.values[name]), -1) for vector in vectors]

    def _change(self, name: str, Delta: Array, X: Array, vectors: list[Array], part: int = 0) -> list[Labelled]:
        """The gradient of (some units of) a tensor, and its update by the rule, if it is not frozen."""
        theta, grad, *_ = vectors
        found = [self._gradient(name, Delta, X, grad, part), *self._penalty_gradient(name, theta, grad)]
        for spec, segment in self._moves:
            if spec.name == name:
                numbers = self._crew.cells[1 + segment * self._slots :].ctypes.data
                record = do.update(self.optimizer.rule.__name__, vectors, numbers, *theta.shape)
                found.append(("optimizer", record))
        return found

    def _gradient(self, name: str, Delta: Array, X: Array, grad: Array, part: int = 0) -> Labelled:
        index, _, kind = name.partition(".")
        if kind == "weight":
            scratch = self._crew.scratch + SCRATCH * part
            return f"product {index} weight gradient", do.product(Delta.T, X, grad, scratch)
        arguments = (Delta.ctypes.data, grad.ctypes.data, 0, *Delta.shape)
        return "bias gradient", do.record("sum_rows", Delta.dtype, *arguments)

    def _penalty_gradient(self, name: str, theta: Array, grad: Array) -> list[Labelled]:
        if all(spec.name != name for spec in self._penalised):
            return []
        arguments = (theta.ctypes.data, grad.ctypes.data, self._strengths, *theta.shape)
        return [("penalty gradient", do.record("penalty_gradient", theta.dtype, *arguments))]

    def _in_strips(self, name: str, Delta: Array, X: Array) -> list[Labelled]:
        """The change of a long weight, some units after others: its gradient never leaves the cache, and there is but
        one strip of it for each thread."""
        if name not in self._long:
            return []
        vectors, threads, rows = self._vectors(name), self._crew.threads, self._strip(name)
        units, entries = vectors[0].shape
        room = self._strips[:, : rows * entries].reshape(threads, rows, entries)

        def change(first: int, count: int, part: int) -> list[do.Record]:
            theta, _, *state = (vector[first : first + count] for vector in vectors)
            here = [theta, room[part, :count], *state]
            return [record for _, record in self._change(name, Delta[:, first : first + count], X, here, part)]

        forms = self._keep(do.linear(change, threads))
        record = do.in_strips(forms, units, rows, self._keep(np.empty((threads, WIDTH), np.int64)))
        return [(f"product {name.partition('.')[0]} weight gradient, optimizer", record)]

    def _strip(self, name: str) -> int:
        """Units to a strip of a tensor; 0 unless it is a weight that moves and has more of them than one per thread."""
        units, *inputs = self.objective.network.parameters.values[name].shape
        rows = max(16, STRIP // (16 * inputs[0] * self._Delta.itemsize) * 16) if inputs else units
        moved = any(spec.name == name for spec, _ in self._moves)
        return rows if moved and units > rows * self._crew.threads else 0

    @cached_property
    def _strips(self) -> Array:
        """Memory for the gradient of one strip for each thread, the same for all weights."""
        gradients = self.objective.network.parameters.gradients
        longest = max(self._strip(name) * gradients[name][0].size for name in self._long)
        return np.empty((self._crew.threads, longest), self._Delta.dtype)

    @property
    def saved(self) -> int:
        """Bytes of the gradient that steps do not write to, less what they write to instead."""
        gradients = self.objective.network.parameters.gradients
        return sum(int(gradients[name].nbytes) for name in self._long) - (int(self._strips.nbytes) if self._long else 0)

    @cached_property
    def _strengths(self) -> int:
        return self._constant((self.objective.penalty.l2, self.objective.penalty.l1))

    def _constant(self, numbers: Sequence[float]) -> int:
        """Where numbers are that instructions look up."""
        return int(self._keep(np.array([*numbers, 0.0])).ctypes.data)

    def _keep(self, array: np.ndarray) -> np.ndarray:
        """The array, for as long as this lives: instructions know its address."""
        self._kept.append(array)
        return array
