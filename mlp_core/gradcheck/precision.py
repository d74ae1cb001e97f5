"""The precision and the kernels of training, measured against the gradient proved in float64."""

from __future__ import annotations

import itertools

import numpy as np

from mlp_core.backend import Array
from mlp_core.batches import Batches
from mlp_core.gradcheck.reference import twin
from mlp_core.gradcheck.report import FAIL, PASS, Precondition
from mlp_core.layers import Pass
from mlp_core.objective import Objective
from mlp_core.optimizers import Sgd
from mlp_core.random import generator

TOLERANCE = {np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-9}


def training_precision(
    objective: Objective, proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass
) -> Precondition:
    """The gradient with the dtype and the backend that training uses, at the weights of `proof`, tensor by tensor.

    A tensor's error is relative to its own largest entry, to 1e-2 of the model's, and to 1e-2 of what errors of 1
    in the logits would give: softmax(Z) - Y of a confident row cancels, and no float32 gradient can be better.
    """
    dtype, backend = objective.network.dtype, objective.network.backend
    trained = twin(proof, len(X), dtype, backend)
    exact, unit = proof_gradient(proof, X, Y, w, mode), unit_gradient(proof, X, w, mode)
    device = [backend.asarray(X.astype(dtype)), backend.asarray(_cast(Y, dtype))]
    weights = None if w is None else backend.asarray(np.asarray(w).astype(dtype))
    trained.value_and_gradient(device[0], device[1], weights, mode)
    gradients = [np.asarray(backend.to_host(trained.network.parameters.grad)).astype(np.float64)]
    whole = _whole_step(trained, *device) if w is None else None
    gradients += [] if whole is None else [whole.astype(np.float64)]
    largest = float(np.abs(exact).max())
    worst, where = 0.0, ""
    for rounded, (name, part) in itertools.product(gradients, proof.network.parameters.slices.items()):
        scale = max(float(np.abs(exact[part]).max()), 1e-2 * largest, 1e-2 * float(np.abs(unit[part]).max()))
        error = float(np.abs(rounded[part] - exact[part]).max()) / scale if scale > 0 else 0.0
        if not error <= worst:
            worst, where = error, f" in {name}"
    tolerance = TOLERANCE[np.dtype(dtype)]
    verdict = PASS if worst <= tolerance else FAIL
    how = backend.name if whole is None else f"{backend.name}, step by step and whole"
    detail = f"{np.dtype(dtype).name} on {how}: worst {worst:.1e}{where}, tolerance {tolerance:.0e}"
    return Precondition("training precision", verdict, detail)


def _whole_step(objective: Objective, X: Array, Y: Array) -> np.ndarray | None:
    """The gradient as the backend takes it in steps that are compiled as a whole; None if there are none for this."""
    network = objective.network
    make = network.backend.kernels.get("whole_step")
    if make is None or network.backend.remote:
        return None
    batches = Batches(network.backend, X, Y, None, size=len(X), shuffle=False)
    step = make(objective, Sgd(network.parameters, network.backend), batches)
    if step is None:
        return None
    network.parameters.grad[:] = np.nan
    step.gradient(np.arange(len(X)))
    gradient: np.ndarray = network.parameters.grad.copy()
    return gradient


def proof_gradient(proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass) -> np.ndarray:
    """The gradient of the parameters in float64, copied."""
    proof.value_and_gradient(X, Y, w, mode)
    gradient: np.ndarray = proof.network.parameters.grad.copy()
    return gradient


def unit_gradient(proof: Objective, X: np.ndarray, w: np.ndarray | None, mode: Pass) -> np.ndarray:
    """The gradient that random errors of size 1 in the logits would give: a scale for rounding."""
    network = proof.network
    Z = network.forward(X, mode)
    weights = np.ones(len(X)) if w is None else np.asarray(w, np.float64)
    errors = generator(0, "gradcheck", 3).standard_normal(Z.shape)
    network.backward(errors * (weights / weights.sum())[:, None])
    gradient: np.ndarray = network.parameters.grad.copy()
    return gradient


def _cast(Y: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Targets as training holds them: class indices stay integers."""
    return Y.astype(dtype) if Y.dtype.kind == "f" else Y
