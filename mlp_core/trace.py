"""A trace: the numbers of single training steps on chosen rows, recorded while the engine itself takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp_core.batches import Batches
from mlp_core.errors import Problem, UsageError
from mlp_core.events import StepDone
from mlp_core.experiment import Experiment
from mlp_core.explain import Equation, Explanation, explain
from mlp_core.explain.layers import derivative
from mlp_core.explain.step import chains
from mlp_core.layers import Dense, Dropout, Layer, Norm, Pass, PRelu, Residual
from mlp_core.trainer import Trainer

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Trace:
    """One step: its formulas, and the recorded arrays by the names the formulas have for them.

    `before` and `after` are the parameters by letter (`W[1]`, `b[1]`, `gamma[2]`, ...), `gradient` what the optimizer
    got for each, `state` what it remembers of each after the step, `names` the stored tensors' names.
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

    @property
    def layers(self) -> int:
        """The number of weight matrices."""
        return sum(symbol.startswith("W[") for symbol in self.before)

    def shown(self, layers: Sequence[int]) -> Iterator[tuple[str, Equation, np.ndarray]]:
        """Section, equation and numbers in the order of the step, of these layers and of what belongs to none."""
        for section in self.explanation.sections:
            if section.title.startswith(("Gradient", "Learning", "Update", "After")):
                return
            for equation in section.equations():
                layer = _layer(equation.target)
                if equation.target in self.arrays and (layer is None or layer in layers):
                    yield section.title, equation, self.arrays[equation.target]


def _layer(target: str) -> int | None:
    """The layer of a symbol such as `dW[2]`; None for `loss` or `P`."""
    return int(target[:-1].split("[")[1]) if target.endswith("]") and target[-2].isdigit() else None


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
    limits = replace(experiment.trainer.limits, epochs=10**9, max_steps=None, max_seconds=None, accumulate=1)
    return replace(
        experiment.trainer, batches=batches, limits=limits, evaluate=dict, best=None, stopping=None, plateau=None
    )


def _step(experiment: Experiment, trainer: Trainer, explanation: Explanation) -> Trace:
    network = experiment.model.network
    letters = _letters(experiment)
    recorder = _Recorder(experiment)
    before = _views(experiment, letters, network.parameters.theta)
    with recorder:
        done = next(event for event in trainer.run() if isinstance(event, StepDone))
    recorder.finish(trainer, done.loss)
    state: dict[str, Arrays] = {}
    for slot, vector in trainer.optimizer.state.items():
        for symbol, array in _views(experiment, letters, vector).items():
            state.setdefault(symbol, {})[slot] = array
    return Trace(
        step=done.step,
        loss=done.loss,
        lr=done.lr,
        explanation=explanation,
        arrays=recorder.arrays,
        before=before,
        gradient=_views(experiment, letters, network.parameters.grad),
        after=_views(experiment, letters, network.parameters.theta),
        state=state,
        names=letters,
    )


def _letters(experiment: Experiment) -> dict[str, str]:
    """Symbol by symbol, the name of the stored tensor: W[1] is 0.weight."""
    kinds = {Dense: ("W", "b"), Norm: ("gamma", "beta"), PRelu: ("alpha",)}
    found: dict[str, str] = {}
    for chain in chains(experiment.model.network, 1):
        for layer in chain.layers:
            pairs = zip(kinds.get(type(layer), ()), layer.specs(), strict=False)
            found |= {f"{letter}[{chain.l}]": spec.name for letter, spec in pairs}
    return found


def _views(experiment: Experiment, letters: dict[str, str], vector: Any) -> Arrays:
    """Copies of the tensors in a vector, by symbol."""
    network = experiment.model.network
    views = network.parameters.views(vector)
    return {symbol: _host(network.backend.to_host(views[name])) for symbol, name in letters.items()}


def _host(array: Any) -> np.ndarray:
    return np.array(array)


class _Recorder:
    """Listens to the layers of a network: copies what goes into and comes out of each, forward and backward.

    The layers compute as always; their arrays are copied because the next layer overwrites them. Z, which most
    activations overwrite by A, comes from a bare Dense layer over the same weights.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.model = experiment.model
        self.network = experiment.model.network
        self.arrays: Arrays = {}
        self.wrapped: list[Layer] = []

    def __enter__(self) -> _Recorder:
        symbol = "X"
        first = self.network.layers[0]
        if isinstance(first, Dropout):
            self._listen(first, "X", "D[0]", 0)
            symbol = "D[0]"
        for chain in chains(self.network, 1):
            chain.source = symbol
            chain.forward()
            symbols = [*(chain.inputs[layer.index] for layer in chain.layers[1:]), chain.output]
            if chain.residual:
                whole = next(o for o in self.network.layers if isinstance(o, Residual) and chain.layers[0] in o.inner)
                self._listen(whole, symbol, chain.output, chain.l)
                symbols[-1] = chain.inner
            for layer, output in zip(chain.layers, symbols, strict=True):
                self._listen(layer, chain.inputs[layer.index], output, chain.l)
            symbol = chain.output
        return self

    def __exit__(self, *_: object) -> None:
        for layer in self.wrapped:
            del layer.forward, layer.backward  # the methods of the class show again

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
                self._keep(f"dW[{number}]", layer.dW)
                self._keep(f"db[{number}]", layer.db)
            elif result is not None:
                self._keep(derivative(x), result)
            if isinstance(layer, Norm):
                self._keep(f"dgamma[{number}]", layer.dgain)
                self._keep(f"dbeta[{number}]", layer.dshift if layer.centred else None)
            if isinstance(layer, PRelu):
                self._keep(f"dalpha[{number}]", layer.da)
            return result

        setattr(layer, "forward", heard_forward)  # noqa: B010 - mypy does not allow the plain assignment
        setattr(layer, "backward", heard_backward)  # noqa: B010
        self.wrapped.append(layer)

    def _keep(self, symbol: str, array: Any) -> None:
        if array is not None:
            self.arrays[symbol] = _host(self.network.backend.to_host(array))

    def _bare(self, layer: Dense, X: Any, mode: Pass) -> Any:
        """X W^T + b by a layer of the engine that has no activation."""
        bare = Dense(layer.index, layer.inputs, layer.units, None, layer.has_bias)
        parameters = self.network.parameters
        bare.bind(parameters.values, parameters.gradients, {})
        bare.allocate(self.network.backend, self.network.dtype, len(X), False)
        return bare.forward(X, mode)

    def _details(self, layer: Layer, number: int) -> None:
        """What a layer keeps from its forward pass."""
        if isinstance(layer, Norm):
            self._keep(f"H[{number}]", layer.H)
        if isinstance(layer, Dropout) and layer.active:
            self._keep(f"M[{number}]", layer.mask * (1 - layer.p))

    def finish(self, trainer: Trainer, loss: float) -> None:
        """What belongs to the loss: targets, predictions, the loss of each row, and their mean."""
        network, objective = self.network, self.model.objective
        _, Y, w = trainer.batches.batch(0, 0)
        last = max(int(symbol[2:-1]) for symbol in self.arrays if symbol.startswith("Z["))
        Z = network.backend.asarray(self.arrays[f"Z[{last}]"])
        if trainer.augment is None:  # else the targets of the step were mixed
            self._keep("Y", Y)
            self._keep("rows", objective.loss.forward(network.backend.xp, Z, Y)[0])
        self._keep("w", w)
        self._keep("P", objective.loss.predict(network.backend.xp, Z))
        self.arrays["loss"] = np.array(loss)
