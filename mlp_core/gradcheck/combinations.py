"""The matrix: every activation, loss, norm, dropout and penalty with every other, each entry of each gradient.

The axes are the engine's tables, so a new activation or loss cannot be forgotten. What makes it fast: the complex step
through a network is independent of the loss, so one forward pass per entry serves all losses and penalties.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from mlp_core.gradcheck.cases import CLASSES, LossCase, Specimen, loss_cases, specimen
from mlp_core.gradcheck.checker import TOLERANCE, Progress
from mlp_core.gradcheck.compare import FLOOR
from mlp_core.gradcheck.complex_step import STEP, twin
from mlp_core.gradcheck.report import FAIL, PASS, Precondition, Report, TensorResult, conclude
from mlp_core.nn.activations import ACTIVATIONS, Activation
from mlp_core.nn.layers import Pass
from mlp_core.nn.losses import CrossEntropy
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.numeric_embedding import Periodic
from mlp_core.nn.objective import Objective, Penalty
from mlp_core.rng import generator

NORMS = ("none", "batch", "layer", "rms")
DROPOUTS = (0.0, 0.3)
PARTS = ("waves", "factors", "ntk", "parametric")
PENALTIES = {
    "none": Penalty(),
    "l2": Penalty(l2=0.03),
    "l1": Penalty(l1=0.02),
    "l2 + l1 on all": Penalty(0.03, 0.02, bias=True),
}


@dataclass(frozen=True)
class Shape:
    """Sizes of a network: all different, so that a transposed product fails, or all equal, so that it does not."""

    name: str
    rows: int
    inputs: int
    hidden: tuple[int, ...]
    outputs: int
    residual: bool


SHAPES = (
    Shape("all different", 5, 3, (6, 2), CLASSES, residual=False),
    Shape("square, residual", CLASSES, CLASSES, (CLASSES, CLASSES), CLASSES, residual=True),
    Shape("one output", 3, 2, (4,), 1, residual=False),
)


@dataclass(frozen=True)
class Cell:
    """One architecture of the matrix, by the names of its axes; `parts`: those of `PARTS` that it has."""

    activation: str
    norm: str
    dropout: float
    shape: Shape
    training: bool
    parts: tuple[str, ...] = ()

    def build(self, seed: int) -> Specimen:
        """The network with rows; its loss stands for all of them."""
        kind, _, position = self.norm.partition(" ")
        f: Activation | None = None if self.activation == "prelu" else ACTIVATIONS[self.activation]()
        blocks = tuple(
            Block(
                units,
                f,
                norm=kind,
                norm_first=position != "post",
                dropout=self.dropout,
                residual=self.shape.residual,
                parametric="parametric" in self.parts,
            )
            for units in self.shape.hidden
        )
        architecture = Architecture(
            self.shape.inputs,
            self.shape.outputs,
            blocks,
            input_dropout=self.dropout / 2,
            periodic=Periodic(self.shape.inputs - 1, 2, 3) if "waves" in self.parts else None,
            input_scale="factors" in self.parts,
            ntk="ntk" in self.parts,
        )
        case = LossCase("any", CrossEntropy(), self.shape.outputs)
        mode = Pass(training=self.training, seed=seed, step=3, record=False)
        return specimen(architecture, case, self.shape.rows, mode=mode, seed=seed)


def cells() -> list[Cell]:
    """Every architecture; batch norm also as it evaluates, because its backward pass then differs. The parts of `PARTS`
    all at once with everything else, and with one activation each with each other."""
    norms = ["none", *(f"{kind} {position}" for kind in NORMS[1:] for position in ("pre", "post"))]
    axes = itertools.product([*ACTIVATIONS, "prelu"], norms, DROPOUTS, SHAPES)
    training = [Cell(*axis, training=True) for axis in axes]
    evaluating = [
        replace(cell, training=False) for cell in training if cell.norm.startswith("batch") and not cell.dropout
    ]
    return training + evaluating + _with_parts()


def _with_parts() -> list[Cell]:
    norms = ("none", "batch pre", "layer post")
    every = [
        Cell(name, norm, 0.3 * (norm == "none"), shape, True, PARTS)
        for name, norm, shape in itertools.product([*ACTIVATIONS, "prelu"], norms, SHAPES)
    ]
    some = [parts for count in range(1, len(PARTS)) for parts in itertools.combinations(PARTS, count)]
    return every + [Cell("selu", "none", 0.0, shape, True, parts) for parts in some for shape in SHAPES]


@dataclass
class _Tally:
    """The number of entries, and the worst error with its two numbers, for each value of each axis."""

    tolerance: float
    rows: dict[str, dict[str, tuple[int, tuple[float, float, float]]]] = field(default_factory=dict)
    combinations: int = 0
    checked: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, labels: dict[str, str], error: float, entries: int, analytic: float, numeric: float) -> None:
        self.combinations += 1
        self.checked += entries
        if not error <= self.tolerance:
            self.failures.append(", ".join(f"{axis} {value}" for axis, value in labels.items()))
            error = error if error > self.tolerance else np.inf
        found = error, analytic, numeric
        for axis, value in labels.items():
            row = self.rows.setdefault(axis, {})
            before, worst = row.get(value, (0, found))
            row[value] = before + entries, max(worst, found, key=lambda one: one[0])


def matrix(*, tolerance: float = TOLERANCE, seed: int = 0, progress: Progress | None = None) -> Report:
    """Check every combination that the tables admit, entry by entry against the complex step.

    The report's tensors are the activations, each over everything it is combined with; the other axes are rows of its
    preconditions. `checked` counts entries over all combinations.
    """
    start = time.perf_counter()
    tally, parameters, todo = _Tally(tolerance), 0, cells()
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        for done, cell in enumerate(todo, start=1):
            parameters += _examine(cell, seed, tally)
            if progress and (done % 16 == 0 or done == len(todo)):
                progress(done, len(todo))
    tensors = tuple(_tensor(name, tally) for name in tally.rows["activation"])
    rows = tuple(_axis_rows(tally))
    return Report(
        checked=tally.checked,
        parameters=parameters,
        worst=max(tensor.error for tensor in tensors),
        tolerance=tolerance,
        tensors=tensors,
        preconditions=rows,
        passed=conclude(tensors, rows, tally.checked),
        seconds=time.perf_counter() - start,
        method="matrix",
        probes=("init",),
        hint=f"first of {len(tally.failures)}: {tally.failures[0]}" if tally.failures else None,
        note=f"{tally.combinations:,} combinations in {len(todo):,} networks",
    )


def _tensor(name: str, tally: _Tally) -> TensorResult:
    entries, (error, analytic, numeric) = tally.rows["activation"][name]
    verdict = PASS if error <= tally.tolerance else FAIL
    return TensorResult(name, (), entries, error, None, analytic, numeric, verdict)


def _axis_rows(tally: _Tally) -> Iterator[Precondition]:
    for axis, values in tally.rows.items():
        if axis == "activation":
            continue
        for value, (entries, (error, *_)) in values.items():
            verdict = PASS if error <= tally.tolerance else FAIL
            yield Precondition(f"{axis}: {value}", verdict, f"{entries:,} entries, worst {error:.1e}")


def _examine(cell: Cell, seed: int, tally: _Tally) -> int:
    """Check one architecture under every loss and penalty that fits it; returns its number of parameters."""
    base = cell.build(seed)
    network, rng = base.objective.network, generator(seed, "gradcheck", 6)
    Z = network.forward(base.X, base.mode).copy()
    steps, penalties = _perturbed(base)
    count, b = network.parameters.size, len(base.X)
    starts = np.array([part.start for part in network.parameters.slices.values()] + [count])
    labels = {
        "activation": cell.activation,
        "norm": cell.norm,
        "dropout": str(cell.dropout),
        "shape": cell.shape.name,
        "parts": " + ".join(cell.parts) or "none",
        "mode": "training" if cell.training else "evaluation",
    }
    for case in loss_cases():
        if case.outputs != cell.shape.outputs:
            continue
        Y, drawn = case.targets(b, rng), rng.random(b) + 0.2
        rows = case.loss.forward(np, steps.reshape(-1, Z.shape[1]), np.concatenate([Y] * len(steps)))[0]
        for weighted, w in (("equal", None), ("weighted", drawn)):
            weights = np.ones(b) if w is None else w
            numeric = rows.imag.reshape(-1, b) @ (weights / weights.sum()) / STEP
            analytic = _gradient(network, case, Z, Y, w)
            for name, penalty in PENALTIES.items():
                a, n = analytic.copy(), numeric.copy()
                n[:count] += penalties[name]
                if name != "none":
                    network.parameters.grad[:] = a[:count]
                    penalty.add_gradient(network)
                    a[:count] = network.parameters.grad
                error, at = _error(a, n, starts)
                here = {**labels, "loss": case.name, "rows": weighted, "penalty": name}
                tally.add(here, error, len(a), float(a[at]), float(n[at]))
    return count


def _perturbed(base: Specimen) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits [K, b, c] with entry k of (parameters, inputs) moved by the complex step, and the penalties' slopes."""
    step = twin(base.objective, len(base.X), np.complex128)
    network, X = step.network, base.X.astype(np.complex128)
    theta, flat = network.parameters.theta, X.reshape(-1)
    logits = []
    slopes: dict[str, list[float]] = {name: [] for name in PENALTIES}
    for vector in (theta, flat):
        for k in range(len(vector)):
            vector.imag[k] = STEP
            logits.append(network.forward(X, base.mode).copy())
            if vector is theta:
                for name, penalty in PENALTIES.items():
                    slopes[name].append(float(np.imag(penalty.value(network))) / STEP)
            vector.imag[k] = 0.0
    return np.array(logits), {name: np.array(values) for name, values in slopes.items()}


def _gradient(network: Network, case: LossCase, Z: np.ndarray, Y: np.ndarray, w: np.ndarray | None) -> np.ndarray:
    """The analytic gradient of parameters and inputs, as one vector, from the forward pass that gave Z."""
    Delta = np.empty_like(Z)
    Objective(network, case.loss)._loss_and_gradient(case.loss, Z, Y, w, float(len(Z) if w is None else w.sum()), Delta)
    network.parameters.grad[:] = np.nan
    dX = network.backward(Delta, input_gradient=True)
    return np.concatenate([network.parameters.grad, np.asarray(dX).ravel()])


def _error(a: np.ndarray, n: np.ndarray, starts: np.ndarray) -> tuple[float, int]:
    """The worst tensor's relative error, by the rule of `compare` for all tensors at once, and where it is."""
    difference, size = np.abs(a - n), np.maximum(np.abs(a), np.abs(n))
    if not np.isfinite(difference).all():
        return np.inf, int(np.argmin(np.isfinite(difference)))
    scale = np.maximum(np.maximum.reduceat(size, starts), FLOOR * size.max())
    worst = np.maximum.reduceat(difference, starts) / np.maximum(scale, np.finfo(float).tiny)
    tensor = int(np.argmax(worst))
    stop = starts[tensor + 1] if tensor + 1 < len(starts) else len(a)
    return float(worst[tensor]), int(starts[tensor] + np.argmax(difference[starts[tensor] : stop]))
