"""The precision and the kernels of training, measured against the gradient proved in float64."""

from __future__ import annotations

import itertools

import numpy as np

from mlp_core.backend import Backend
from mlp_core.batches import Batches
from mlp_core.gradcheck.reference import twin
from mlp_core.gradcheck.report import FAIL, PASS, Precondition
from mlp_core.layers import Pass
from mlp_core.limits import Limits
from mlp_core.objective import Objective
from mlp_core.optimizers import Sgd
from mlp_core.random import generator
from mlp_core.whole_steps import WholeSteps, hindrance

TOLERANCE = {"float32": 1e-3, "float64": 1e-9}


def training_precision(
    objective: Objective, proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass
) -> Precondition:
    """The gradient with the dtype and the backend that training uses, at the weights of `proof`, tensor by tensor.

    Where training makes whole steps at once, their gradient is compared too. On a device with operations of its own the
    same is done in float64 as well, where a wrong formula cannot pass for rounding. Products are of highest precision:
    factors that are rounded to a few digits put units on the other side of their kink, which looks like an error of the
    gradient and is none.

    A tensor's error is relative to its own largest entry, to 1e-2 of the model's, and to 1e-2 of what errors of 1 in
    the logits would give: softmax(Z) - Y of a confident row cancels, and no float32 gradient can be better.
    """
    backend, dtypes = objective.network.backend.exact(), [np.dtype(objective.network.dtype).name]
    if backend.remote and dtypes == ["float32"]:
        dtypes.append("float64")
    exact, unit = proof_gradient(proof, X, Y, w, mode), unit_gradient(proof, X, w, mode)
    verdict, details = PASS, []
    for dtype in dtypes:
        gradients = _trained_gradients(proof, backend, np.dtype(dtype), X, Y, w, mode)
        worst, where = _worst(proof, gradients, exact, unit)
        verdict = verdict if worst <= TOLERANCE[dtype] else FAIL
        how = backend.name if len(gradients) == 1 else f"{backend.name}, step by step and whole"
        details.append(f"{dtype} on {how}: worst {worst:.1e}{where}, tolerance {TOLERANCE[dtype]:.0e}")
    return Precondition("training precision", verdict, "; ".join(details))


def _trained_gradients(
    proof: Objective,
    backend: Backend,
    dtype: np.dtype,
    X: np.ndarray,
    Y: np.ndarray,
    w: np.ndarray | None,
    mode: Pass,
) -> list[np.ndarray]:
    """The gradient as a backend computes it in a dtype, in each way that it has, in float64 on the host."""
    trained = twin(proof, len(X), dtype, backend)
    x, y = backend.asarray(X.astype(dtype)), backend.asarray(_cast(Y, dtype))
    weights = None if w is None else backend.asarray(np.asarray(w).astype(dtype))
    trained.value_and_gradient(x, y, weights, mode)
    gradients = [np.array(backend.to_host(trained.network.parameters.grad), np.float64)]
    batches = Batches(backend, x, y, weights, size=len(X), shuffle=False)
    whole = _given(trained, batches, mode) if backend.remote else _compiled(trained, batches, mode)
    gradients += [] if whole is None else [whole.astype(np.float64)]
    return gradients


def _compiled(objective: Objective, batches: Batches, mode: Pass) -> np.ndarray | None:
    """The gradient as the backend takes it in steps that are compiled as a whole; None if there are none for this."""
    network = objective.network
    make = network.backend.kernels.get("whole_step")
    if make is None or batches.w is not None:
        return None
    step = make(objective, Sgd(network.parameters, network.backend), batches, mode.seed)
    if step is None:
        return None
    network.parameters.grad[:] = np.nan
    step.gradient(np.arange(batches.rows), mode.step)
    gradient: np.ndarray = network.parameters.grad.copy()
    return gradient


def _given(objective: Objective, batches: Batches, mode: Pass) -> np.ndarray | None:
    """The gradient that a whole step leaves on a device, at a rate of 0; None if there are no whole steps for this."""
    network, limits = objective.network, Limits(1)
    optimizer, backend = Sgd(network.parameters, network.backend), network.backend
    if backend.recorder is None or hindrance(objective, optimizer, batches, limits, None) is not None:
        return None
    network.parameters.grad[...] = np.nan
    losses = backend.zeros((1,), np.float64)
    steps = WholeSteps(objective, optimizer, batches, limits, mode.seed, losses, None)
    steps.take(0, 0, mode.step, [0.0], 0)
    return np.array(backend.to_host(network.parameters.grad))


def _worst(proof: Objective, gradients: list[np.ndarray], exact: np.ndarray, unit: np.ndarray) -> tuple[float, str]:
    """The largest relative error of a tensor, and in which it is."""
    largest = float(np.abs(exact).max())
    worst, where = 0.0, ""
    for gradient, (name, part) in itertools.product(gradients, proof.network.parameters.slices.items()):
        scale = max(float(np.abs(exact[part]).max()), 1e-2 * largest, 1e-2 * float(np.abs(unit[part]).max()))
        error = float(np.abs(gradient[part] - exact[part]).max()) / scale if scale > 0 else 0.0
        if not error <= worst:
            worst, where = error, f" in {name}"
    return worst, where


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
