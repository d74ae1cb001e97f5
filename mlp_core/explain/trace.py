"""A trace: the numbers of single training steps on chosen rows, recorded while the engine itself takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp_core.data.batches.batches import Batches
from mlp_core.errors import Problem, UsageError
from mlp_core.explain import Equation, Explanation, explain
from mlp_core.explain.layers import derivative
from mlp_core.explain.step import groups, letters, symbols
from mlp_core.nn.layers import Dense, Dropout, Layer, Pass, Residual
from mlp_core.nn.network import Network
from mlp_core.nn.norm import Norm
from mlp_core.nn.numeric_embedding import NumericEmbedding
from mlp_core.training.events import StepDone
from mlp_core.training.experiment import Experiment
from mlp_core.training.steps import StageSteps
from mlp_core.training.trainer import Trainer

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Trace:
    """One step: its formulas, and the recorded arrays by the names the formulas have for them.

    `before` and `after` are the parameters by letter (`W[1]`, `b[1]`, `gamma[2]`, ...), `gradient` what the optimizer
    got for each, `state` what it remembers of each after the step, `names` the stored tensors' names; `inputs` is the
    symbol of each layer's input.
    """

    step: int
    loss: float
    lr: float
    explanation: Explanation
    arrays: Arrays
    before: Arrays
    gradient: Arrays
    after: Arrays
    state: dict[str, Arrays]
    names: dict[str, str]
    inputs: dict[int, str]

    @property
    def layers(self) -> int:
        """The number of weight matrices."""
        return sum(symbol.startswith("W[") for symbol in self.before)

    def shown(self, layers: Sequence[int]) -> Iterator[tuple[str, Equation, np.ndarray | None]]:
        """Section, equation and numbers in the order of the step, of these layers and of what belongs to none.

        None stands for the numbers of what the engine computes on the way and does not keep.
        """
        for section in self.explanation.sections:
            if section.title.startswith(("Gradient", "Learning", "Update", "After")):
                return
            number = layer_of(section.title)
            for line in section.lines:
                if isinstance(line, Equation) and (number is None or number in layers):
                    yield section.title, line, self.arrays.get(line.target)


def layer_of(title: str) -> int | None:
    """The number of the layer that a section is about, None if it is about none."""
    word, _, rest = title.partition(" ")
    return int(rest.split(",")[0]) if word == "Layer" else None


def trace(experiment: Experiment, rows: Sequence[int], steps: int = 1) -> Iterator[Trace]:
    """Take steps with a batch of these training rows (counted from 0), and tell every number of each.

    The network, the loss and the optimizer are the experiment's own and are moved by it. Raises UsageError for rows
    that are not there, or are more than a batch holds.
    """
    trainer = _trainer(experiment, _checked(experiment, rows))
    explanation = explain(replace(experiment, trainer=trainer), len(rows))
    for _ in range(steps):
        yield _step(experiment, trainer, explanation)


def _checked(experiment: Experiment, rows: Sequence[int]) -> list[int]:
    count, most = len(experiment.splits["train"].X), experiment.model.network.rows
    for row in rows:
        if not 0 <= row < count:
            problem = Problem("no_such_row", f"no row {row}", f"training rows are 0 to {count - 1:,}", key="--row")
            raise UsageError(problem)
    if len(rows) > most:
        message = f"{len(rows)} rows are more than a batch of {most}"
        raise UsageError(Problem("too_many_rows", message, "raise train.batch_size", key="--row"))
    return list(rows)


def _trainer(experiment: Experiment, rows: list[int]) -> Trainer:
    """The experiment's trainer, with these rows as its only batch, in this order."""
    train, backend = experiment.splits["train"], experiment.model.network.backend
    w = None if train.w is None else train.w[rows]
    batches = Batches(backend, train.X[rows], train.Y[rows], w, size=len(rows), shuffle=False)
    limits = replace(experiment.trainer.job.limits, epochs=10**9, max_steps=None, max_seconds=None, accumulate=1)
    steps = StageSteps(replace(experiment.trainer.job, batches=batches, limits=limits))
    return replace(experiment.trainer, steps=steps, evaluate=dict, best=None, stopping=None, plateau=None)


def _step(experiment: Experiment, trainer: Trainer, explanation: Explanation) -> Trace:
    network = experiment.model.network
    names = {symbol: name for name, symbol in symbols(network).items()}
    recorder = _Recorder(experiment)
    before = _views(network, names, network.parameters.theta)
    with recorder:
        done = next(event for event in trainer.run() if isinstance(event, StepDone))
    recorder.finish()
    state: dict[str, Arrays] = {}
    for slot, vector in trainer.job.optimizer.state.items():
        for symbol, array in _views(network, names, vector).items():
            state.setdefault(symbol, {})[slot] = array
    return Trace(
        step=done.step,
        loss=float(recorder.arrays["loss"]),
        lr=done.lr,
        explanation=explanation,
        arrays=recorder.arrays,
        before=before,
        gradient=_views(network, names, network.parameters.grad),
        after=_views(network, names, network.parameters.theta),
        state=state,
        names=names,
        inputs=recorder.inputs,
    )


def _views(network: Network, names: dict[str, str], vector: Any) -> Arrays:
    """Copies of the tensors in a vector, by symbol."""
    views = network.parameters.views(vector)
    return {symbol: np.array(network.backend.to_host(views[name])) for symbol, name in names.items()}


class _Recorder:
    """Listens to the layers of a network: copies what goes into and comes out of each, forward and backward.

    The layers compute as always; their arrays are copied because the next layer overwrites them. Z, which most
    activations overwrite by A, comes from a bare Dense layer over the same weights.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.model = experiment.model
        self.network = experiment.model.network
        self.arrays: Arrays = {}
        self.inputs: dict[int, str] = {}
        self.wrapped: list[Layer] = []

    def __enter__(self) -> _Recorder:
        compute = self.model.objective.value_and_gradient

        def heard(*arguments: Any, **options: Any) -> Any:
            value, dX = compute(*arguments, **options)
            self._keep("loss", value)
            self.Y, self.w = arguments[1:3]
            return value, dX

        setattr(self.model.objective, "value_and_gradient", heard)  # noqa: B010
        symbol = "X"
        for chain in groups(self.network, 1):
            chain.source = symbol
            if chain.l:
                self.inputs[chain.l] = symbol
            chain.forward()
            outputs = [*(chain.inputs[layer.index] for layer in chain.layers[1:]), chain.inner]
            if chain.residual:
                whole = next(o for o in self.network.layers if isinstance(o, Residual) and chain.layers[0] in o.inner)
                self._listen(whole, symbol, chain.output, chain.l)
            for layer, output in zip(chain.layers, outputs, strict=True):
                self._listen(layer, chain.inputs[layer.index], output, chain.l)
            symbol = chain.output
        return self

    def __exit__(self, *_: object) -> None:
        for owner in (self.model.objective, *self.wrapped):  # the methods of the class show again
            for name in ("forward", "backward", "value_and_gradient"):
                vars(owner).pop(name, None)

    def _listen(self, layer: Layer, x: str, output: str, number: int) -> None:
        forward, backward = layer.forward, layer.backward

        def heard_forward(X: Any, mode: Pass) -> Any:
            self._keep(x, X)
            if isinstance(layer, Dense):
                self._keep(f"Z[{number}]", self._bare(layer, X, mode))
            A = forward(X, mode)
            self._keep(output, A)
            self._details(layer, number)
            return A

        def heard_backward(Delta: Any, input_gradient: bool = True) -> Any:
            self._keep(derivative(output), Delta)
            result = backward(Delta, input_gradient)
            if isinstance(layer, Dense):
                self._keep(f"Delta[{number}]", Delta)  # overwritten by dLoss/dZ
            elif result is not None:
                self._keep(derivative(x), result)
            for name, symbol in letters(layer, number).items():
                self._keep(f"d{symbol}", self.network.parameters.gradients[name])
            return result

        setattr(layer, "forward", heard_forward)  # noqa: B010 - mypy does not allow the plain assignment
        setattr(layer, "backward", heard_backward)  # noqa: B010
        self.wrapped.append(layer)

    def _keep(self, symbol: str, array: Any) -> None:
        if array is not None:
            self.arrays[symbol] = np.array(self.network.backend.to_host(array))

    def _bare(self, layer: Dense, X: Any, mode: Pass) -> Any:
        """X W^T + b by a layer of the engine that has no activation."""
        bare = Dense(layer.index, layer.inputs, layer.units, None, layer.has_bias, ntk=layer.ntk)
        parameters = self.network.parameters
        bare.bind(parameters.values, parameters.gradients, {})
        bare.allocate(self.network.backend, self.network.dtype, len(X), False)
        return bare.forward(X, mode)

    def _details(self, layer: Layer, number: int) -> None:
        """What a layer keeps from its forward pass."""
        if isinstance(layer, Norm):
            self._keep(f"H[{number}]", layer.H)
        if isinstance(layer, NumericEmbedding):
            for letter, array in (("Z", layer.P), ("C", layer.C)):
                self._keep(f"{letter}[0]", array.transpose(1, 0, 2).reshape(array.shape[1], -1))
        if isinstance(layer, Dropout) and layer.active:
            self._keep(f"M[{number}]", (layer.mask > 0).astype(layer.mask.dtype))

    def finish(self) -> None:
        """What belongs to the loss: targets as the formulas have them, predictions, the loss of each row."""
        backend, loss = self.network.backend, self.model.objective.loss
        c = self.network.architecture.outputs
        Z = backend.asarray(self.arrays[f"Z[{len(self.inputs)}]"])
        Y = self.Y
        self._keep("rows", loss.forward(backend.xp, Z, Y)[0][:, None])
        self._keep("P", loss.predict(backend.xp, Z))
        self._keep("Y", Y if Y.ndim > 1 else backend.xp.eye(c, dtype=Z.dtype)[Y] if c > 1 else Y[:, None])
        self._keep("w", None if self.w is None else self.w[:, None])
