"""A trace tells the engine's own numbers: they fit their formulas, the engine's gradients, and an ordinary step."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.errors import UsageError
from mlp_core.explain.trace import Trace, trace
from mlp_core.nn.layers import Pass
from mlp_core.proof.machine import Machine
from mlp_core.training.events import StepDone
from mlp_core.training.experiment import Experiment

CONFIG: dict[str, Any] = {
    "data": {"name": "digits", "limit": 60, "split": {"val": 0.1, "test": 0.1}},
    "dtype": "float64",
    "model": {"hidden": [6, 5], "activation": "tanh"},
    "train": {"batch_size": 8},
}
ROWS = [3, 0, 7]
CASES = {
    "plain": [],
    "one hidden layer of gelu": ["model.hidden=[4]", "model.activation=gelu"],
    "no hidden layer": ["model.hidden=[]"],
    "no bias": ["model.bias=false"],
    "norm before": ["model.norm=batch", "model.dropout=0.3"],
    "norm after": ["model.norm=layer", "model.norm_position=post_activation"],
    "rms and prelu": ["model.norm=rms", "model.activation=prelu"],
    "residual": ["model.hidden=[6,6,6]", "model.residual=true", "model.norm=batch", "model.dropout=0.2"],
    "residual of nothing else": ["model.hidden=[6,6]", "model.residual=true", "model.activation=identity"],
    "dropout of inputs": ["model.input_dropout=0.3"],
    "ntk and shares": ["model.parametrization=ntk", "model.parametric=true", "model.norm=batch"],
    "waves and factors": ["data.name=diabetes", "model.numeric_embedding=periodic", "model.input_scale=true"],
    "fading dropout": ["model.dropout=0.3", "model.input_dropout=0.2", "schedule.dropout=flat_cos"],
    "class weights": ["loss.class_weight=balanced"],
    "noise": ["regularization.input_noise=0.1"],
    "mixup": ["regularization.mixup=0.4"],
    "penalty": ["regularization.l2=0.1"],
    "regression": ["data.name=diabetes", "loss.name=huber"],
}
ON_THE_WAY = (
    "Phi",
    "phi",
    "f[",
    "df[",
    "mean[",
    "var[",
    "running_",
    "dH[",
    "dX",
    "d",
    "P",
    "X",
    "x",
    "fade",
    "L[0]",
    "Delta[0]",
    "highest",
    "logP",
    "softplus",
    "total",
)  # not kept by the engine


def build(*overrides: str) -> Experiment:
    return Experiment.build(from_mapping(CONFIG, list(overrides)))


def rerun(one: Trace) -> Machine:
    """The formulas of a trace, carried out on plain numpy from its inputs and parameters."""
    place, parts, values = 0, [], []
    for symbol, array in one.before.items():
        letter, index = symbol[:-1].split("[")
        parts.append((letter, int(index), slice(place, place + array.size), array.shape))
        values.append(array.ravel())
        place += array.size
    machine = Machine(np.concatenate(values), parts)
    machine |= {name: one.arrays.get(name) for name in ("X", "Y", "w")} | {"step": one.step - 1}
    for symbol, array in one.arrays.items():
        if symbol.startswith("M["):
            machine.store(symbol, array)
    units = {symbol: array.size for symbol, array in one.before.items() if symbol.startswith("gamma")}
    for symbol, size in units.items():
        machine.store(symbol.replace("gamma", "running_mean"), np.zeros(size))
        machine.store(symbol.replace("gamma", "running_var"), np.ones(size))
    for section in one.explanation.sections:
        if section.title == "Data":
            machine.run(line for line in section.lines if getattr(line, "target", None) in ("x", "fade_p"))
        if section.title.startswith(("Inputs", "Layer", "Loss")):
            machine.run(section.lines)
    return machine


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES)
def test_every_number_fits_its_formula(overrides: list[str]) -> None:
    one = next(trace(build(*overrides), ROWS))
    machine = rerun(one)
    compared = set()
    for _, equation, array in one.shown(range(1, one.layers + 1)):
        if array is None:
            assert equation.target.startswith(ON_THE_WAY), equation.target
            continue
        value = np.broadcast_to(machine.value(equation.target), np.shape(machine.value(equation.target)))
        np.testing.assert_allclose(np.ravel(value), np.ravel(array), rtol=1e-9, atol=1e-12, err_msg=equation.target)
        compared.add(equation.target)
    assert {"loss", "rows", "Z[1]", "dW[1]", f"Delta[{one.layers}]"} <= compared


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES)
def test_it_is_the_step_of_the_engine(overrides: list[str]) -> None:
    """The same rows through an untouched engine give the same loss and gradient, bit by bit."""
    traced, plain = build(*overrides), build(*overrides)
    one = next(trace(traced, ROWS))
    train, objective = plain.splits["train"], plain.model.objective
    w = None if train.w is None else train.w[ROWS]
    mode = Pass(True, plain.config.seed, 0)
    X, Y, w = (train.X[ROWS], train.Y[ROWS], w)
    if plain.trainer.job.augment is not None:
        X, Y, w = plain.trainer.job.augment(X, Y, w, mode)
    loss, _ = objective.value_and_gradient(X, Y, w, mode)
    assert one.loss == loss
    for symbol, gradient in plain.model.network.parameters.gradients.items():
        letter = next(key for key, name in one.names.items() if name == symbol)
        np.testing.assert_array_equal(one.gradient[letter], gradient)
    plain.trainer.job.optimizer.step(
        objective.network.parameters.theta, objective.network.parameters.grad, plain.trainer.schedule.rate(0)
    )
    for letter, name in one.names.items():
        np.testing.assert_array_equal(one.after[letter], objective.network.parameters.values[name])


def test_the_layers_are_as_before_when_it_is_over() -> None:
    experiment = build("model.norm=batch", "model.residual=true")
    steps = list(trace(experiment, [0, 1], steps=3))
    assert [one.step for one in steps] == [1, 2, 3]
    for one, following in itertools.pairwise(steps):
        np.testing.assert_array_equal(one.after["W[1]"], following.before["W[1]"])
    assert steps[2].loss < steps[0].loss
    for layer in experiment.model.network._flat_layers():
        assert not {"forward", "backward"} & set(vars(layer))
    assert "value_and_gradient" not in vars(experiment.model.objective)
    assert isinstance(next(experiment.trainer.run()), StepDone)


def test_the_arrays_are_copies() -> None:
    first, second = trace(build(), [0], steps=2)
    assert not np.array_equal(first.arrays["Z[1]"], second.arrays["Z[1]"])
    assert not np.array_equal(first.before["W[1]"], first.after["W[1]"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([48], "no row 48; training rows are 0 to 47"),
        ([0, -1], "no row -1; training rows are 0 to 47"),
        (list(range(9)), "9 rows are more than a batch of 8; raise train.batch_size"),
    ],
)
def test_rows_that_are_not_there(rows: list[int], message: str) -> None:
    with pytest.raises(UsageError, match="row") as caught:
        next(trace(build(), rows))
    assert str(caught.value) == f"--row: {message}"
