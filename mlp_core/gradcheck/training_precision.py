"""The precision and the kernels of training, measured against the gradient proved in float64."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mlp_core.backends.job import Job
from mlp_core.data.batches.batches import Batches
from mlp_core.gradcheck.compare import magnitude
from mlp_core.gradcheck.complex_step import twin
from mlp_core.gradcheck.report import FAIL, PASS, Precondition
from mlp_core.nn.backend import Backend, blocks
from mlp_core.nn.layers import Pass
from mlp_core.nn.objective import Objective
from mlp_core.nn.optimizers import Sgd
from mlp_core.nn.step_options import Limits
from mlp_core.rng import generator

TOLERANCE = {"float32": 1e-3, "float64": 1e-9}


@dataclass(frozen=True)
class Exact:
    """The gradient proved in float64 as one vector, where each tensor is in it, and what its error is relative to."""

    gradient: np.ndarray
    slices: dict[str, slice]
    scales: dict[str, float]


def exact_gradient(proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass) -> Exact:
    """The gradient in float64. It is not copied: it stays what it is while the network of `proof` is left alone.

    A tensor's error is relative to its own largest entry, to 1e-2 of the model's, and to 1e-2 of what errors of 1 in
    the logits would give: softmax(Z) - Y of a confident row cancels, and no float32 gradient can be better.
    """
    slices, gradient = proof.network.parameters.slices, proof.network.parameters.grad
    unit = unit_gradient(proof, X, w, mode)
    scales = {name: 1e-2 * magnitude(unit[part]) for name, part in slices.items()}
    proof.value_and_gradient(X, Y, w, mode)
    largest = magnitude(gradient)
    for name, part in slices.items():
        scales[name] = max(magnitude(gradient[part]), 1e-2 * largest, scales[name])
    return Exact(gradient, slices, scales)


def training_precision(
    there: Objective,
    backend: Backend,
    exact: Exact,
    X: np.ndarray,
    Y: np.ndarray,
    w: np.ndarray | None,
    mode: Pass,
) -> Precondition:
    """The gradient with the dtype of `there` and the backend that training uses, tensor by tensor, at its weights.

    Where training makes whole steps at once, their gradient is compared too. On a device with operations of its own the
    same is done in float64 as well, where a wrong formula cannot pass for rounding. Products are of highest precision:
    factors that are rounded to a few digits put units on the other side of their kink, which looks like an error of the
    gradient and is none.
    """
    backend, dtypes = backend.exact(), [np.dtype(there.network.dtype).name]
    if backend.remote and dtypes == ["float32"]:
        dtypes.append("float64")
    verdict, details = PASS, []
    for dtype in dtypes:
        trained = twin(there, len(X), np.dtype(dtype), backend)
        worst, where, ways = _worst(exact, _trained_gradients(trained, X, Y, w, mode))
        verdict = verdict if worst <= TOLERANCE[dtype] else FAIL
        how = backend.name if ways == 1 else f"{backend.name}, step by step and whole"
        details.append(f"{dtype} on {how}: worst {worst:.1e}{where}, tolerance {TOLERANCE[dtype]:.0e}")
    return Precondition("training precision", verdict, "; ".join(details))


def _trained_gradients(
    trained: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass
) -> Iterator[np.ndarray]:
    """The gradient of a network in each way that its backend has, on the host; each is gone when the next is made.
    Targets are as training holds them: class indices stay integers."""
    backend, dtype = trained.network.backend, trained.network.dtype
    x, y = backend.asarray(X.astype(dtype)), backend.asarray(Y.astype(dtype) if Y.dtype.kind == "f" else Y)
    weights = None if w is None else backend.asarray(np.asarray(w).astype(dtype))
    trained.value_and_gradient(x, y, weights, mode)
    yield np.asarray(backend.to_host(trained.network.parameters.grad))
    batches = Batches(backend, x, y, weights, size=len(X), shuffle=False)
    job = Job(trained, Sgd(trained.network.parameters, backend), batches, Limits(1), mode.seed)
    steps = None if backend.whole_steps is None else backend.whole_steps(job)
    if steps is not None and not isinstance(steps, str):
        trained.network.parameters.grad[...] = np.nan
        steps.gradient(mode.step)
        yield np.asarray(backend.to_host(trained.network.parameters.grad))


def _worst(exact: Exact, gradients: Iterable[np.ndarray]) -> tuple[float, str, int]:
    """The largest relative error of a tensor, in which it is, and of how many gradients."""
    worst, where, ways = 0.0, "", 0
    for gradient in gradients:
        ways += 1
        for name, part in exact.slices.items():
            scale = exact.scales[name]
            error = _apart(gradient[part], exact.gradient[part]) / scale if scale > 0 else 0.0
            if not (error <= worst or math.isnan(worst)):
                worst, where = error, f" in {name}"
    return worst, where, ways


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference between two vectors, NaN where there is one."""
    return float(np.max([magnitude(one[part] - other[part]) for part in blocks(len(one))]))


def unit_gradient(proof: Objective, X: np.ndarray, w: np.ndarray | None, mode: Pass) -> np.ndarray:
    """The gradient that random errors of size 1 in the logits would give, a scale for rounding; it is the network's."""
    network = proof.network
    Z = network.forward(X, mode)
    weights = np.ones(len(X)) if w is None else np.asarray(w, np.float64)
    errors = generator(0, "gradcheck", 3).standard_normal(Z.shape)
    network.backward(errors * (weights / weights.sum())[:, None])
    gradient: np.ndarray = network.parameters.grad
    return gradient
