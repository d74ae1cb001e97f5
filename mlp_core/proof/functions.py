"""Activations and the loss by themselves, number by number, in the precision of training: a wrong digit of a constant
moves a step by less than steps are compared to, and a long run by more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlp_core.explain.activations_norms import FUNCTIONS
from mlp_core.explain.formula import Equation
from mlp_core.explain.step import chains
from mlp_core.nn.activations import Activation, activation_gradient, bias_activation
from mlp_core.nn.layers import Activate, Dense
from mlp_core.nn.losses import loss_and_gradient
from mlp_core.nn.network import Network
from mlp_core.nn.parametric import Parametric
from mlp_core.proof import draws
from mlp_core.proof.compare import Tally
from mlp_core.proof.machine import Machine
from mlp_core.proof.paper import Paper, Walk
from mlp_core.proof.state import State

GRID = np.linspace(-11.97, 11.99, 4096).reshape(64, 64)
"""Values of z, none of them a kink."""
ULPS, STEEP = {"float32": 16, "float64": 256}, {"gelu_tanh": 8}
"""Units of the last digit of a value, or of LEAST where it is smaller, that a function may be off, in float64 as much
as the formulas themselves may be; so many times more where 1 - t^2 is multiplied by large numbers."""
LEAST = 0.5
ROWS, REACH = 48, 3.0  # of logits N(0, REACH^2)


def prove_functions(paper: Paper) -> Tally:
    """f and f' of every activation of the network, and dLoss/dZ of rows, as the backend makes them."""
    tally = Tally("activations and the loss by themselves")
    with np.errstate(all="ignore"):
        for f in _activations(paper.network):
            _activation(tally, paper.network, f)
        _loss(tally, paper)
    return tally


def _activations(network: Network) -> Iterator[Activation]:
    """Each of them once."""
    found = dict[tuple[str, Any], Activation]()
    for chain in chains(network, 1):
        for layer in chain.layers:
            if isinstance(layer, Dense | Activate | Parametric) and layer.f is not None:
                found.setdefault((layer.f.name, getattr(layer.f, "alpha", None)), layer.f)
    return iter(found.values())


def _activation(tally: Tally, network: Network, f: Activation) -> None:
    backend, dtype = network.backend, np.dtype(network.dtype)
    Z = backend.asarray(GRID.astype(dtype))
    A, Delta = backend.empty(GRID.shape, dtype), backend.asarray(np.ones(GRID.shape, dtype))
    backend.primitive(bias_activation)(Z, None, f, A)
    backend.primitive(activation_gradient)(Delta, f, Z, A)
    machine, formula = Machine(np.zeros(0), []), FUNCTIONS[f.name]
    machine |= {"z": GRID.astype(dtype).astype(np.float64), "alpha": getattr(f, "alpha", 0.0)}
    machine.run([Equation(*helper) for helper in formula.helpers] + [Equation("f(z)", formula.f)])
    for what, here, value in (("f", A, "f(z)"), ("f'", Delta, formula.slope)):
        there = np.broadcast_to(machine.value(value), GRID.shape)
        _same(tally, f"{what} of {f.name}", backend.to_host(here), there, dtype, STEEP.get(f.name, 1))


def _loss(tally: Tally, paper: Paper) -> None:
    """dLoss/dZ of logits that are drawn, with the targets of some training rows."""
    experiment, network, loss = paper.experiment, paper.network, paper.experiment.model.objective.loss
    backend, dtype, table = network.backend, np.dtype(network.dtype), paper.table
    rows = np.arange(min(ROWS, table.rows))
    rng = draws.philox(experiment.config.seed, "proof", 2)
    Z = (REACH * rng.standard_normal((len(rows), network.architecture.outputs))).astype(dtype)
    Delta = backend.empty(Z.shape, dtype)
    Y = experiment.splits["train"].Y[backend.asarray(rows)]
    backend.primitive(loss_and_gradient)(loss, backend.asarray(Z), Y, None, float(len(rows)), Delta)
    machine, last = Walk(paper, State.of(experiment.trainer.job)).machine, len(chains(network, 1))
    machine |= {"Y": table.targets(rows)[0], "w": np.ones((len(rows), 1)), "total": float(len(rows))}
    machine.store(f"Z[{last}]", Z.astype(np.float64))
    machine.run(paper.text(len(rows)).lines("Loss"))
    there = len(rows) * np.asarray(machine["Delta"][last], np.float64)
    _same(tally, "dLoss/dZ", len(rows) * np.asarray(backend.to_host(Delta), np.float64), there, dtype)


def _same(tally: Tally, name: str, here: Any, there: Any, dtype: np.dtype[Any], times: int = 1) -> None:
    """Numbers that are finite by the formulas, one by one."""
    here, there = (np.where(np.isfinite(there), array, 0.0) for array in (here, there))
    within = times * ULPS[dtype.name] * float(np.finfo(dtype).eps)
    tally.entries(name, here, there, within, np.maximum(np.abs(there), LEAST))
