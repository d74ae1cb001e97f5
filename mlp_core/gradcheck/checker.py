"""The gradient check: the backward pass of the user's own model against an exact numerical derivative."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mlp_core.errors import Failed, Problem
from mlp_core.gradcheck.compare import Comparison, compare, magnitude
from mlp_core.gradcheck.complex_step import ComplexStep, twin
from mlp_core.gradcheck.directions import Coverage, choose, cover
from mlp_core.gradcheck.finite_differences import Opinion, second_opinion
from mlp_core.gradcheck.kinks import pieces
from mlp_core.gradcheck.preconditions import fingerprint, preconditions
from mlp_core.gradcheck.probe_points import PROBES, move
from mlp_core.gradcheck.report import FAIL, PASS, SKIP, Precondition, Report, TensorResult, conclude
from mlp_core.gradcheck.suspects import hint
from mlp_core.gradcheck.training_precision import exact_gradient, training_precision, unit_gradient
from mlp_core.nn.backend import blocks
from mlp_core.nn.layers import Dropout, Pass
from mlp_core.nn.objective import Objective, Penalty
from mlp_core.rng import generator

TOLERANCE = 1e-8
FAST_ROWS = 8
KINK_MOVES = 5
ROUNDINGS = 4
"""By how many units of the last place a weight may be off without putting a unit on the other side of its kink."""
WHOLE = "passes from the layer that changed"
"""The row that says whether perturbed passes, which begin there and are stacked, give what whole ones give."""
Progress = Callable[[int, int], None]
"""Called with the number of evaluations done and to be done."""


def check(
    objective: Objective,
    X: np.ndarray,
    Y: np.ndarray,
    w: np.ndarray | None,
    *,
    mode: Pass,
    tolerance: float = TOLERANCE,
    method: str = "auto",
    probes: Sequence[str] = PROBES,
    seed: int = 0,
    progress: Progress | None = None,
    opinion: bool = True,
) -> Report:
    """Compare every derivative of an objective with the complex step, and say whether its gradients are right.

    X [b, n] inputs, Y targets, w [b] row weights or None, all on the host; `mode` as training uses it (dropout masks
    frozen at its seed and step). The objective's network may have any dtype and backend; the proof is made on replicas
    in float64 and complex128, then the gradient with the network's own dtype and kernels is compared with the proved
    one. The weights of the objective are left as they were.

    `method`: full (every entry), sweep (each row and each column along a random direction), fast (4 Gaussian
    directions per tensor), auto (full up to 20,000 parameters). A tensor passes where max|a - n| <= tolerance *
    max(max|a|, max|n|, 1e-4 * largest entry of the whole gradient). `opinion` False leaves out the second opinion.
    """
    X, w = np.array(X, np.float64), None if w is None else np.array(w, np.float64)
    Y, mode = np.array(Y, np.float64) if Y.dtype.kind == "f" else np.array(Y), replace(mode, record=False)
    method = choose(method, objective.network.parameters.size, X.size)
    second = Opinion() if opinion and method != "fast" else None
    return _Check(objective, X, Y, w, mode, tolerance, method, tuple(probes), seed, progress, second).run()


def fast_check(
    objective: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass, seed: int = 0
) -> Report:
    """The check before the first training step: milliseconds, at the given weights, on at most 8 rows."""
    rows = np.arange(len(X)) if w is None else np.flatnonzero(np.asarray(w) > 0)
    rows = rows[:FAST_ROWS]
    weights = None if w is None else np.asarray(w)[rows]
    return check(objective, X[rows], Y[rows], weights, mode=mode, method="fast", probes=("init",), seed=seed)


def _not_complex(error: Warning) -> Failed:
    """What to say of a forward pass that cannot be differentiated by the complex step, and where it is."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "gradcheck" not in frame.filename]
    place = f" in {frames[-1].name}: {frames[-1].line}" if frames else ""
    message = f"the forward pass drops imaginary parts, so that nothing can be proved{place}"
    return Failed(Problem("not_complex", message, "branch on z.real, and use no abs, var or astype to real numbers"))


@dataclass
class _Part:
    """One tensor under check: what it is called, how it is covered, and its worst result so far."""

    name: str
    coverage: Coverage
    worst: TensorResult | None = None
    hint: str | None = None
    moved: bool = False


@dataclass
class _Check:
    """One run of `check`, with everything it is about."""

    objective: Objective
    X: np.ndarray
    Y: np.ndarray
    w: np.ndarray | None
    mode: Pass
    tolerance: float
    method: str
    probes: tuple[str, ...]
    seed: int
    progress: Progress | None
    opinion: Opinion | None
    done: int = 0
    rows: dict[str, Precondition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng, specs = generator(self.seed, "gradcheck", 0), self.objective.network.parameters.specs
        shapes = {**{spec.name: spec.shape for spec in specs}, "input": self.X.shape}
        *self.parts, self.input = (_Part(name, cover(self.method, shape, rng)) for name, shape in shapes.items())

    def run(self) -> Report:
        start = time.perf_counter()
        user = self.objective.network
        before = fingerprint(*(user.backend.to_host(p.theta) for p in (user.parameters, user.statistics)))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            for number, probe in enumerate(self.probes):
                try:
                    self._at(probe, number)
                except np.exceptions.ComplexWarning as error:
                    raise _not_complex(error) from None
        self._record(self._stirred())
        after = fingerprint(*(user.backend.to_host(p.theta) for p in (user.parameters, user.statistics)))
        if self.opinion is not None:
            self._record(self.opinion.row())
        self._record(Precondition("weights unchanged", PASS if before == after else FAIL, "by the whole check"))
        return self._report(time.perf_counter() - start)

    def _stirred(self) -> Precondition:
        """Whether every tensor had a gradient somewhere: where all is zero, little is proved."""
        still = [part.name for part in self.parts if not part.moved]
        detail = f"zero at every probe: {', '.join(still)}" if still else "every tensor has a gradient at some probe"
        return Precondition("something to compare", SKIP if still else PASS, detail)

    def _record(self, row: Precondition, probe: str = "") -> None:
        """Keep the worst of the rows of one name."""
        present = self.rows.get(row.name)
        if present is None or (row.verdict == FAIL and present.verdict != FAIL):
            at = f" (at {probe})" if probe and row.verdict == FAIL else ""
            self.rows[row.name] = replace(row, detail=row.detail + at)

    def _at(self, probe: str, number: int) -> None:
        """Everything there is to compare at one probe point."""
        data, dtype = (self.X, self.Y, self.w, self.mode), self.objective.network.dtype
        proof = twin(self.objective, len(self.X), np.float64)
        kept = proof.network.parameters.theta, proof.network.statistics.theta
        move(probe, proof, *data, self.seed)
        for vector in kept:
            for part in blocks(len(vector)):
                vector[part] = vector[part].astype(dtype)  # a point that training can stand on
        step, moved = self._leave_kinks(proof, probe)
        point = fingerprint(*kept)
        for row in preconditions(proof, step, *data):
            self._record(row, probe)
        self._compare(proof, step, probe)
        if self.opinion is not None:
            rng = generator(self.seed, "gradcheck", 2, number)
            unit = magnitude(unit_gradient(proof, self.X, self.w, self.mode))
            self.opinion = self.opinion.plus(second_opinion(proof, *data, rng, 1e-2 * unit))
        exact = exact_gradient(proof, *data)
        unmoved = fingerprint(*kept) == point
        there = self.objective if probe == "init" and not moved else twin(proof, 1, dtype)
        del proof, kept, step  # training in its own precision takes memory too
        if probe != "wild":  # where units saturate, float32 has no digits left to compare
            self._record(training_precision(there, self.objective.network.backend, exact, *data), probe)
        self._record(Precondition("state untouched", PASS if unmoved else FAIL, "weights and statistics"), probe)

    def _leave_kinks(self, proof: Objective, probe: str) -> tuple[ComplexStep, bool]:
        """The complex step at this point, or beside it where rounding decides on which side of a kink a unit stands.

        And whether it is beside it.
        """
        network = proof.network
        for attempt in range(KINK_MOVES):
            step = ComplexStep(proof, self.X, self.Y, self.w, self.mode)
            here = self._pieces(proof)
            there = pieces(step.network, proof.loss, proof.penalty, step.copies.below[-1], self.Y)
            if np.array_equal(here, there) and all(np.array_equal(here, one) for one in self._rounded(proof, attempt)):
                return step, attempt > 0
            rng = generator(self.seed, "gradcheck", 4, attempt)
            for part in blocks(network.parameters.size):
                network.parameters.theta[part] += 1e-3 * rng.standard_normal(part.stop - part.start)
            self._record(
                Precondition("off the kinks", PASS, f"weights moved by 1e-3 at {probe}: a unit was on its kink")
            )
        return ComplexStep(proof, self.X, self.Y, self.w, self.mode), True

    def _pieces(self, proof: Objective) -> np.ndarray:
        return pieces(proof.network, proof.loss, proof.penalty, proof.network.forward(self.X, self.mode), self.Y)

    def _rounded(self, proof: Objective, attempt: int) -> Iterator[np.ndarray]:
        """The pieces a few roundings of training away, to both sides: units that start from the data may stand on their
        kink in every row that is like another, where training in its precision takes the other side."""
        theta, kept = proof.network.parameters.theta, proof.network.parameters.grad  # of no use yet
        few = ROUNDINGS * float(np.finfo(self.objective.network.dtype).eps)
        kept[...] = theta
        for side in (few, -few):
            rng = generator(self.seed, "gradcheck", 5, attempt)
            for part in blocks(len(theta)):
                theta[part] *= 1 + side * rng.standard_normal(part.stop - part.start)
            yield self._pieces(proof)
            theta[...] = kept

    def _compare(self, proof: Objective, step: ComplexStep, probe: str) -> None:
        """Analytic against numeric: each tensor whole, then data loss, penalties and logits on their own."""
        gradient = proof.network.parameters.grad
        unit = magnitude(unit_gradient(proof, self.X, self.w, self.mode))
        _, dX = proof.value_and_gradient(self.X, self.Y, self.w, self.mode, input_gradient=True)
        assert dX is not None
        # Below a thousandth of what an error of 1 in the logits gives, softmax(Z) - Y is rounding.
        largest = max(magnitude(gradient), 1e-3 * unit)
        whole, of_input = self._projected(proof), self.input.coverage.project(dX)
        alone = penalty = whole
        if proof.penalty != Penalty():
            Objective(proof.network, proof.loss).value_and_gradient(self.X, self.Y, self.w, self.mode)
            alone = self._projected(proof)
            gradient[:] = 0
            proof.penalty.add_gradient(proof.network)
            penalty = self._projected(proof)
        apart = {"data loss alone": 0.0, "penalties alone": 0.0, WHOLE: 0.0}
        for part in self.parts:
            numeric, numeric_penalty = step.parameters(part.name, self._counted(part))
            self._tensor(part, whole[part.name], numeric + numeric_penalty, largest, probe)
            apart[WHOLE] = max(apart[WHOLE], compare(numeric, step.whole, largest).error)
            for name, a, n in (("data loss alone", alone, numeric), ("penalties alone", penalty, numeric_penalty)):
                apart[name] = max(apart[name], compare(a[part.name], n, largest).error)
        of_step = step.inputs(self._counted(self.input))
        apart[WHOLE] = max(apart[WHOLE], compare(of_step, step.whole, largest).error)
        self._tensor(self.input, of_input, of_step, largest, probe)
        if proof.penalty == Penalty():
            apart.pop("penalties alone")
        apart["loss gradient at the logits"] = self._logits(proof, step)
        for name, error in apart.items():
            self._record(Precondition(name, PASS if error <= self.tolerance else FAIL, f"worst {error:.1e}"), probe)

    def _projected(self, proof: Objective) -> dict[str, np.ndarray]:
        """The gradient as it is now along the directions of each tensor."""
        gradients = proof.network.parameters.gradients
        return {part.name: part.coverage.project(gradients[part.name]) for part in self.parts}

    def _counted(self, part: _Part) -> Iterator[Any]:
        total = len(self.probes) * sum(len(p.coverage.directions) for p in (*self.parts, self.input))
        for direction in part.coverage.directions:
            yield direction
            self.done += 1
            if self.progress and (self.done % 64 == 0 or self.done == total):
                self.progress(self.done, total)

    def _tensor(self, part: _Part, analytic: np.ndarray, numeric: np.ndarray, largest: float, probe: str) -> None:
        """Compare the derivatives along the directions of one tensor, and keep the worst."""
        part.moved |= bool(numeric.any())
        found = compare(analytic, numeric, largest)
        if part.worst is None or found.error > part.worst.error:
            index = part.coverage.locate(np.nan_to_num(np.abs(analytic - numeric), nan=np.inf))
            part.worst = self._result(part, found, index, probe)
            if not found.within(self.tolerance):
                part.hint = hint(analytic, numeric, part.coverage, self._facts())

    def _logits(self, proof: Objective, step: ComplexStep) -> float:
        """Relative error of the loss's own gradient at the logits."""
        Z = proof.network.forward(self.X, self.mode).copy()
        Delta = np.empty_like(Z)
        total = float(step.total)
        proof._loss_and_gradient(proof.loss, Z, self.Y, self.w, total, Delta)
        return compare(Delta, step.logits(Z), float(step.weights.max()) / total).error

    def _facts(self) -> dict[str, float]:
        """Numbers of this model that a wrong factor may be."""
        b, c = len(self.X), self.objective.network.architecture.outputs
        facts = {"1/b": 1 / b, "b": float(b), "2": 2.0, "1/2": 0.5, "1/c": 1 / c, "c": float(c)}
        if b > 1:
            facts |= {"(b-1)/b": (b - 1) / b, "b/(b-1)": b / (b - 1)}
        for p in {layer.p for layer in self.objective.network._flat_layers() if isinstance(layer, Dropout)}:
            facts |= {"1-p": 1 - p, "1/(1-p)": 1 / (1 - p)}
        return facts

    def _report(self, seconds: float) -> Report:
        parts = (*self.parts, self.input)
        tensors = tuple(part.worst for part in parts if part.worst is not None)
        expected = self.objective.network.parameters.size + self.X.size
        if self.method == "fast":
            expected = sum(len(part.coverage.directions) for part in parts)
        rows = tuple(self.rows.values())
        worst, part = max(zip(tensors, parts, strict=True), key=lambda pair: pair[0].error)
        return Report(
            checked=sum(tensor.checked for tensor in tensors),
            parameters=self.objective.network.parameters.size,
            worst=worst.error,
            tolerance=self.tolerance,
            tensors=tensors,
            preconditions=rows,
            passed=conclude(tensors, rows, expected),
            seconds=seconds,
            method=self.method,
            probes=self.probes,
            hint=f"{part.name}: {part.hint}" if part.hint else None,
        )

    def _result(self, part: _Part, found: Comparison, index: tuple[int, ...] | None, probe: str) -> TensorResult:
        verdict, numbers = PASS if found.within(self.tolerance) else FAIL, (found.analytic, found.numeric)
        covered = part.coverage
        return TensorResult(part.name, covered.shape, covered.checked, found.error, index, *numbers, verdict, probe)
